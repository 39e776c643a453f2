"""The search over one amount, and the division among groups, on functions that are written out."""

import math
from collections.abc import Callable

import pytest

from pruning_client.torch.search.bracket import largest_within
from pruning_client.torch.search.shares import sensitivity, shares


def searched(
    loss: Callable[[float], float], limit: float, *, most: int = 10, known: dict[float, float] | None = None
) -> tuple[float, list[float]]:
    """Return what the search finds, and the amounts it looked at."""
    search, looked = largest_within(limit, 0.95, 0.01, most, known), []
    try:
        amount = next(search)
        while True:
            looked.append(amount)
            amount = search.send(loss(amount))
    except StopIteration as stop:
        return stop.value, looked


@pytest.mark.parametrize("slope", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("border", [0.1, 0.33, 0.5, 0.77, 0.9])
def test_border_of_a_growing_loss_is_found(slope: float, border: float) -> None:
    limit = math.expm1(slope * border)
    found, looked = searched(lambda amount: math.expm1(slope * amount), limit)
    assert border - 0.01 <= found <= border
    assert len(looked) <= 9


def test_highest_amount_that_is_within_ends_the_search() -> None:
    assert searched(lambda _: 0.1, 0.2) == (0.95, [0.95])


def test_nothing_within_is_zero() -> None:
    assert searched(lambda _: 9.0, 0.2)[0] == 0.0


@pytest.mark.parametrize("most", [1, 3])
def test_number_of_evaluations_is_kept(most: int) -> None:
    assert len(searched(lambda amount: amount, 0.31, most=most)[1]) == most


def test_what_is_found_was_within_where_the_loss_is_not_monotone() -> None:
    def loss(amount: float) -> float:
        return 0.5 if 0.3 < amount < 0.6 or amount > 0.8 else 0.1

    found, looked = searched(loss, 0.2)
    assert found in looked
    assert loss(found) == 0.1


def test_losses_without_bound_and_a_limit_of_zero_are_searched_by_halves() -> None:
    assert searched(lambda amount: math.inf if amount > 0.4 else 0.0, 0.0)[0] == pytest.approx(0.4, abs=0.01)


def test_known_losses_are_where_the_search_begins() -> None:
    found, looked = searched(lambda amount: amount, 0.7, known={0.5: 0.5, 0.95: math.inf})
    assert found == pytest.approx(0.7, abs=0.01)
    assert min(looked) > 0.5


def test_groups_that_lose_less_are_pruned_more() -> None:
    groups = {
        "robust": sensitivity(100, [(0.4, 0.01), (0.8, 0.1)], 1e-6),
        "fragile": sensitivity(100, [(0.4, 0.1), (0.8, 1.0)], 1e-6),
    }
    found = shares(groups, 0.5, 0.95)
    assert found["robust"] > found["fragile"]
    assert sum(found.values()) / 2 == pytest.approx(0.5)


def test_equal_groups_get_the_same() -> None:
    one = sensitivity(100, [(0.4, 0.01), (0.8, 0.1)], 1e-6)
    found = shares({"a": one, "b": one}, 0.6, 0.95)
    assert found == {"a": pytest.approx(0.6), "b": pytest.approx(0.6)}


def test_shares_stay_within_bounds_and_reach_the_highest() -> None:
    groups = {
        "free": sensitivity(10, [(0.4, -0.1), (0.8, 0.0)], 1e-6),
        "dear": sensitivity(1000, [(0.4, 5.0), (0.8, math.inf)], 1e-6),
    }
    assert shares(groups, 0.95, 0.95) == {"free": pytest.approx(0.95), "dear": pytest.approx(0.95)}
    found = shares(groups, 0.005, 0.95)
    assert 0 <= found["dear"] <= found["free"] <= 0.95
