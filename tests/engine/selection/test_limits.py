"""Shares of a total within limits: the least importance among all choices that keep the limits."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_engine.selection.limits import ImpossibleTotalError, Limits, share_within_limits

Tensors = list[list[int]]


def least(tensors: Tensors, members: Sequence[int], total: int) -> list[int]:
    """How many of the `total` least numbers each of some lists has."""
    everything = sorted((number, index) for index in members for number in tensors[index])
    taken = [index for _, index in everything[:total]]
    return [taken.count(index) for index in members]


def cost(tensors: Tensors, shares: Sequence[int]) -> int:
    return sum(sum(sorted(numbers)[:share]) for numbers, share in zip(tensors, shares, strict=True))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensors, list[Limits], int]:
    tensors = draw(st.lists(st.lists(st.integers(0, 30), max_size=5), min_size=1, max_size=4))
    limits = []
    for numbers in tensors:
        low, high = sorted(draw(st.tuples(st.integers(0, len(numbers)), st.integers(0, len(numbers)))))
        limits.append(Limits(low, high))
    total = draw(st.integers(sum(limit.least for limit in limits), sum(limit.most for limit in limits)))
    return tensors, limits, total


@given(case=cases())
def test_shares_cost_least_within_the_limits(case: tuple[Tensors, list[Limits], int]) -> None:
    tensors, limits, total = case
    found = share_within_limits(total, limits, lambda members, rest: least(tensors, members, rest))
    assert sum(found) == total
    assert all(limit.least <= share <= limit.most for share, limit in zip(found, limits, strict=True))
    allowed = product(*(range(limit.least, limit.most + 1) for limit in limits))
    assert cost(tensors, found) == min(cost(tensors, shares) for shares in allowed if sum(shares) == total)


@pytest.mark.parametrize("total", [1, 9])
def test_a_total_that_no_shares_make_up_is_refused_by_number(total: int) -> None:
    with pytest.raises(ImpossibleTotalError) as caught:
        share_within_limits(total, [Limits(2, 4), Limits(0, 4)], lambda members, _: [0] * len(members))
    assert (caught.value.least, caught.value.most) == (2, 8)
