"""Bounds of each tensor's sparsity in global scope: the total is kept, and the rest compete."""

import numpy as np
import pytest
import torch

from pruning_engine import MismatchError, Reason, RecipeError, prune_state_dict
from pruning_engine.recipe import (
    Bounds,
    Channels,
    Count,
    Lamp,
    Magnitude,
    NOfM,
    Recipe,
    Rule,
    Scope,
    Sparsity,
    check,
)
from tests.engine.packed import pack
from tests.engine.rules import recipe

HALF = Sparsity(0.5)


def rule(bounds: Bounds, amount: Sparsity | Count = HALF) -> Rule:
    return Rule(score=Magnitude(), amount=amount, scope=Scope.GLOBAL, bounds=bounds)


def model() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    scales = {"small.weight": 0.01, "middle.weight": 1.0, "large.weight": 50.0}
    return {name: scale * torch.randn(40, 30, generator=generator) for name, scale in scales.items()}


def sparsities(rule: Rule, **more: torch.Tensor) -> dict[str, float]:
    report = prune_state_dict(model() | more, recipe(rule), output="mask").report
    return {tensor.name: tensor.sparsity for tensor in report.tensors}


def test_without_bounds_the_smallest_tensor_is_emptied() -> None:
    assert sparsities(rule(Bounds()))["small.weight"] == 1.0


def test_tensors_at_a_bound_are_fixed_and_the_rest_compete() -> None:
    found = sparsities(rule(Bounds(max_sparsity=0.8)))
    assert found["small.weight"] == 0.8
    assert sum(found.values()) == pytest.approx(1.5)
    assert found["large.weight"] < found["middle.weight"] < 0.8
    assert sparsities(rule(Bounds(min_sparsity=0.3)))["large.weight"] == 0.3


def test_the_masks_are_those_of_the_least_entries_of_each_tensor() -> None:
    bounded = rule(Bounds(0.25, 0.8))
    masks = prune_state_dict(model(), recipe(bounded), output="masked").state_dict
    for name, weight in model().items():
        mask = masks[f"{name}_mask"]
        assert isinstance(mask, torch.Tensor)
        pruned, left = weight.abs()[~mask], weight.abs()[mask]
        assert pruned.max() < left.min()


def test_what_was_pruned_before_counts() -> None:
    kept = torch.from_numpy(np.random.default_rng(0).random((40, 30)) < 0.1)
    found = sparsities(rule(Bounds(max_sparsity=0.6)), **{"middle.weight:mask_bits": pack(kept)})
    before = 1 - kept.double().mean().item()
    assert found["middle.weight"] == pytest.approx(before)
    assert found["small.weight"] == pytest.approx(1.5 - before, abs=1e-3) or found["small.weight"] == 0.6


def test_lamp_keeps_bounds_too() -> None:
    bounded = Rule(score=Lamp(), amount=Sparsity(0.5), bounds=Bounds(0.45, 0.55))
    found = sparsities(bounded)
    assert all(0.45 <= sparsity <= 0.55 for sparsity in found.values())
    assert sum(found.values()) == pytest.approx(1.5)


def test_bounds_that_do_not_allow_the_amount_are_refused_by_number() -> None:
    with pytest.raises(
        MismatchError, match=r"the amount prunes 3,500 entries .* allow 0 to 2,880 entries of 3,6"
    ) as caught:
        sparsities(rule(Bounds(max_sparsity=0.8), Count(3500)))
    assert (caught.value.reason, caught.value.field) == (Reason.AMOUNT_OUT_OF_RANGE, "rules[0].bounds")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Rule(score=Magnitude(), amount=Sparsity(0.5), bounds=Bounds(0.1)), "bounds"),
        (Rule(score=Magnitude(), granularity=NOfM(2, 4), bounds=Bounds(0.1)), "bounds"),
        (
            Rule(score=Magnitude(), amount=Count(1), granularity=Channels(), scope=Scope.GLOBAL, bounds=Bounds(0.1)),
            "bounds",
        ),
        (rule(Bounds(max_sparsity=0.4)), "bounds.max_sparsity"),
        (rule(Bounds(min_sparsity=0.6)), "bounds.min_sparsity"),
        (rule(Bounds(0.6, 0.4)), "bounds.min_sparsity"),
    ],
    ids=["local scope", "n of m", "channels", "below the amount", "above the amount", "order"],
)
def test_bounds_that_make_no_sense_are_refused(asked: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((asked,)))
    assert caught.value.field == f"rules[0].{field}"
