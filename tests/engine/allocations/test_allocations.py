"""One amount divided among tensors: by their shapes, or by the outliers among their scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_engine import RecipeError, prune_state_dict
from pruning_engine.allocations.allocation import Allocation, Allotted
from pruning_engine.recipe import (
    Amount,
    Bounds,
    Count,
    ErdosRenyiKernel,
    Fraction,
    Magnitude,
    NOfM,
    ObsScore,
    Owl,
    Random,
    Recipe,
    Rule,
    Scope,
    Sparsity,
    check,
)
from tests.engine.packed import pack
from tests.engine.rules import recipe

SHAPES = {"wide.weight": (20, 300), "square.weight": (40, 40), "tiny.weight": (3, 4), "conv.weight": (8, 4, 3, 3)}


def model() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    tensors["wide.weight"][:, :30] *= 20  # a tenth are outliers
    return tensors


def sparsities(
    allocation: Allocation, amount: Amount, bounds: Bounds | None = None, **more: torch.Tensor
) -> dict[str, float]:
    rule = Rule(score=Magnitude(), amount=amount, allocation=allocation, bounds=bounds)
    report = prune_state_dict(model() | more, recipe(rule), output="mask").report
    return {tensor.name: tensor.sparsity for tensor in report.tensors}


def erk(shapes: list[tuple[int, ...]], density: float) -> list[float]:
    """RigL's reference: raise the scale, and make what exceeds 1 dense, until nothing does."""
    dense: set[int] = set()
    sizes, raw = [np.prod(shape) for shape in shapes], [sum(shape) / np.prod(shape) for shape in shapes]
    while True:
        rest = density * sum(sizes) - sum(sizes[index] for index in dense)
        scale = rest / sum(sizes[index] * raw[index] for index in range(len(shapes)) if index not in dense)
        above = {index for index in range(len(shapes)) if index not in dense and scale * raw[index] > 1}
        if not above:
            return [1.0 if index in dense else scale * raw[index] for index in range(len(shapes))]
        dense |= above


@pytest.mark.parametrize("amount", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("kind", [Sparsity, Fraction])
def test_erk_is_that_of_the_reference(amount: float, kind: type[Sparsity]) -> None:
    found = sparsities(ErdosRenyiKernel(), kind(amount))
    for (name, shape), density in zip(SHAPES.items(), erk(list(SHAPES.values()), 1 - amount), strict=True):
        assert found[name] == round((1 - density) * np.prod(shape)) / np.prod(shape)


def test_owl_prunes_tensors_with_more_outliers_less() -> None:
    found = sparsities(Owl(), Sparsity(0.6))
    total = sum(found[name] * np.prod(shape) for name, shape in SHAPES.items())
    assert total == pytest.approx(0.6 * sum(np.prod(shape) for shape in SHAPES.values()), abs=2)
    assert found["wide.weight"] < 0.6 < found["square.weight"]
    assert max(abs(sparsity - 0.6) for sparsity in found.values()) <= 0.08 + 0.5 / 12
    assert sparsities(Owl(max_difference=0.0), Sparsity(0.5))["wide.weight"] == 0.5


def test_owl_counts_scores_above_a_multiple_of_their_mean() -> None:
    weights = {"a.weight": torch.tensor([[1.0] * 9 + [99.0]]), "b.weight": torch.tensor([[1.0] * 10])}
    rule = Rule(score=Magnitude(), amount=Sparsity(0.5), allocation=Owl(outlier_factor=9.0, max_difference=0.2))
    report = prune_state_dict(weights, recipe(rule), output="mask").report
    assert [tensor.pruned for tensor in report.tensors] == [3, 7]
    rule = Rule(score=Magnitude(), amount=Sparsity(0.5), allocation=Owl(outlier_factor=9.2, max_difference=0.2))
    report = prune_state_dict(weights, recipe(rule), output="mask").report
    assert [tensor.pruned for tensor in report.tensors] == [5, 5]  # the mean is 10.8, so that 99 is no outlier


@pytest.mark.parametrize("allocation", [ErdosRenyiKernel(), Owl(max_difference=0.5)])
def test_bounds_are_kept_and_the_total_too(allocation: Allocation) -> None:
    found = sparsities(allocation, Sparsity(0.6), Bounds(0.4, 0.7))
    assert all(0.4 <= sparsity <= 0.7 for sparsity in found.values())
    total = sum(found[name] * np.prod(shape) for name, shape in SHAPES.items())
    assert total == pytest.approx(0.6 * sum(np.prod(shape) for shape in SHAPES.values()), abs=4)


def test_what_was_pruned_before_counts_in_a_sparsity() -> None:
    kept = torch.from_numpy(np.random.default_rng(0).random(SHAPES["wide.weight"]) < 0.7)
    before = sparsities(ErdosRenyiKernel(), Sparsity(0.9))
    assert sparsities(ErdosRenyiKernel(), Sparsity(0.9), None, **{"wide.weight:mask_bits": pack(kept)}) == before


@given(
    sizes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=6),
    density=st.floats(0, 1),
    limits=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_densities_make_up_the_total_within_the_limits(
    sizes: list[tuple[int, int]], density: float, limits: tuple[float, float]
) -> None:
    least, most = sorted(limits)
    density = min(max(density, least), most)
    tensors = [Allotted(shape=shape, least=least, most=most, measure=index / 7) for index, shape in enumerate(sizes)]
    for allocation in (ErdosRenyiKernel(), Owl()):
        found = np.array(allocation.densities(tensors, density))
        entries = np.array([tensor.entries for tensor in tensors])
        assert entries @ found == pytest.approx(density * entries.sum(), abs=1e-6)
        assert (found >= least - 1e-12).all()
        assert (found <= most + 1e-12).all()


@pytest.mark.parametrize(
    "asked",
    [
        Rule(score=Magnitude(), amount=Count(3), allocation=ErdosRenyiKernel()),
        Rule(score=Magnitude(), amount=Sparsity(0.5), allocation=ErdosRenyiKernel(), scope=Scope.GLOBAL),
        Rule(score=Magnitude(), granularity=NOfM(2, 4), allocation=ErdosRenyiKernel()),
        Rule(score=Random(), amount=Sparsity(0.5), allocation=Owl()),
        Rule(score=ObsScore(), amount=Sparsity(0.5), allocation=Owl()),
    ],
    ids=["count", "global scope", "n of m", "owl of random scores", "owl of obs"],
)
def test_allocations_that_make_no_sense_are_refused(asked: Rule) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((asked,)))
    assert caught.value.field == "rules[0].allocation"
