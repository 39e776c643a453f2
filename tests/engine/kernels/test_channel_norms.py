"""Norms of channels: what ranks them, and the exact order of those that are close."""

import math

import numpy as np
import pytest
import torch

from pruning_engine import prune_state_dict
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.norm import NamedNorm, Norm, power_of
from pruning_engine.recipe import Channels, Count, Magnitude, Rule
from pruning_engine.selection.channels import cut
from tests.engine.rules import recipe

EXACT = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, NamedNorm.FRO]


@pytest.mark.parametrize("norm", EXACT, ids=str)
@pytest.mark.parametrize("spread", [1.0, 1e40, 1e-40], ids=["near one", "large", "small"])
def test_exact_sums_are_rounded_once(norm: Norm, spread: float) -> None:
    rows = np.abs(np.random.default_rng(5).standard_normal((4, 37)) * np.logspace(0, 12, 37) * spread)
    expected = [math.fsum(norms.terms_in_place(row.copy(), power_of(norm))) for row in rows]
    assert norms.exact_sums(rows, norm).tolist() == expected


def test_exact_sums_of_zeros_and_beyond_the_range() -> None:
    rows = np.array([[0.0, 0.0], [1e308, 1e308], [math.inf, 1.0], [1e308, 0.0]])
    assert norms.exact_sums(rows, 1.0).tolist() == [0.0, math.inf, math.inf, 1e308]


def test_exact_sums_of_the_least_numbers() -> None:
    assert norms.exact_sums(np.array([[5e-324, 5e-324, 1.0]]), 1.0).tolist() == [1.0]
    assert norms.exact_sums(np.array([[5e-324, 5e-324]]), 1.0).tolist() == [1e-323]


def test_channels_that_differ_in_the_last_bit_rank_by_it() -> None:
    tiny = 2.0**-53
    weight = torch.tensor([[1.0, tiny, tiny, 0.0], [1.0, tiny, tiny, tiny], [1.0, 0.0, 0.0, tiny]], dtype=torch.float64)
    rule = Rule(score=Magnitude(1.0), amount=Count(1), granularity=Channels())
    result = prune_state_dict({"weight": weight}, recipe(rule)).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    assert result.any(dim=1).tolist() == [True, True, False]


def test_channels_of_equal_sum_are_pruned_in_order() -> None:
    weight = torch.tensor([[3.0, 4.0], [4.0, 3.0], [5.0, 0.0], [0.0, 5.0]])
    rule = Rule(score=Magnitude(2.0), amount=Count(2), granularity=Channels())
    result = prune_state_dict({"weight": weight}, recipe(rule)).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    assert result.any(dim=1).tolist() == [False, False, True, True]


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_the_nuclear_norm_is_of_each_matrix(dim: int) -> None:
    weight = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(1))
    rule = Rule(score=Magnitude(NamedNorm.NUC), amount=Count(1), granularity=Channels(dim))
    result = prune_state_dict({"weight": weight}, recipe(rule))
    least = min(float(torch.linalg.matrix_norm(matrix.double(), "nuc")) for matrix in weight.unbind(dim))
    assert result.report.tensors[0].threshold == pytest.approx(least)


@pytest.mark.parametrize("power", [2.5, -1.0, 7.0])
def test_other_powers_rank_by_their_norm(power: float) -> None:
    weight = torch.tensor([[1.0, 5.0], [2.0, 2.0], [4.0, 4.0]])
    rule = Rule(score=Magnitude(power), amount=Count(1), granularity=Channels())
    result = prune_state_dict({"weight": weight}, recipe(rule))
    least = torch.linalg.vector_norm(weight.double(), power, dim=1).min()
    assert result.report.tensors[0].threshold == pytest.approx(float(least))


def test_largest_pruned_is_reported_exactly_even_if_all_are_pruned() -> None:
    ranks = np.array([1.0, 2.0])
    found = cut(ranks, 2, 2.0, 4, lambda places: ranks[places] + 0.5)

    assert found.pruned.tolist() == [True, True]
    assert found.largest_pruned == 2.5


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_channels_that_are_alike_share_their_exact_sum(dim: int) -> None:
    row = torch.tensor([0.1, 0.2, 0.7])
    weight = row.expand(4, 5, 3).movedim(2, (dim + 1) % 3).contiguous()
    rule = Rule(score=Magnitude(2.0), amount=Count(1), granularity=Channels(dim))
    report = prune_state_dict({"weight": weight}, recipe(rule)).report
    squares = np.abs(weight.movedim(dim, 0).reshape(weight.shape[dim], -1).double().numpy()) ** 2

    assert report.tensors[0].threshold == math.sqrt(min(math.fsum(terms) for terms in squares))
