"""A plan in readings: the same tensors and the same report as when its parameters are held together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pruning_engine.allocations.allocation import Bounds
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.errors import CheckpointError, MismatchError
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.readings import Readings, SampleReading
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Channels,
    Count,
    Fraction,
    ImportanceScores,
    Lamp,
    Magnitude,
    OutputForm,
    Prior,
    Random,
    Recipe,
    Refit,
    Rule,
    Scope,
    Score,
    Selector,
    Sparsity,
    WeightedMagnitude,
)
from pruning_engine.report import Report
from pruning_engine.torch_tensors import name_of
from tests.engine.buffers import received, results
from tests.engine.calibrated import gram, inputs

GLOBAL = Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
LOCAL = Rule(score=Magnitude(), amount=Fraction(0.2))
Tensors = dict[str, torch.Tensor]


def model() -> Tensors:
    """Weights of three layers, a bias, and the Gram matrices of two of them."""
    torch.manual_seed(3)
    grams = {
        f"{name}:in_gram": gram(inputs(16, seed=seed)).float() for seed, name in enumerate(["b.weight", "a.weight"])
    }
    weights = {name: torch.randn(24, 16) for name in ("b.weight", "a.weight", "c.weight")}
    return {**weights, "a.bias": torch.randn(24), **grams}


def planned(tensors: Tensors, *rules: Rule) -> Plan:
    specs = [TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()]
    return make_plan(Recipe(rules, 7), specs, output=OutputForm.PRUNED, options=PlanOptions(can_read_again=True))


def carried_out(pruning: Pruning, plan: Plan, tensors: Tensors) -> tuple[Tensors, Report]:
    found = [pruning.add(received(parameter, tensors)) for parameter in plan.parameters]
    return results(state for states in found for state in states), replace(pruning.report(), seconds={})


def in_readings(plan: Plan, tensors: Tensors) -> tuple[Tensors, Report, int]:
    """Return the results, the report, and how many readings there were before the last."""
    readings, number = Readings(plan, NumpyBackend()), 0
    for number, reading in enumerate(readings, 1):  # noqa: B007 - counted
        for parameter in filter(reading.needs, plan.parameters):
            reading.add(received(parameter, tensors))
    return *carried_out(Pruning(plan, in_place=False, known=readings.known), plan, tensors), number


@pytest.mark.parametrize(
    ("rules", "readings"),
    [
        ((GLOBAL,), 2),
        ((replace(GLOBAL, score=Random()),), 2),
        ((replace(GLOBAL, amount=Count(0)),), 1),
        ((replace(GLOBAL, amount=Fraction(1.0)),), 2),
        ((LOCAL, replace(GLOBAL, amount=Sparsity(0.6))), 2),
        ((GLOBAL, replace(GLOBAL, prior=Prior.ZEROS)), 4),
        (
            (
                replace(
                    GLOBAL,
                    score=WeightedMagnitude(),
                    update=Refit(steps=20),
                    input_dim=1,
                    select=Selector(("a.weight", "b.weight")),
                ),
                replace(GLOBAL, amount=Sparsity(0.7), select=Selector(("re:.*weight",))),
            ),
            4,
        ),
    ],
    ids=["global", "random", "none", "all", "after a local rule", "two rounds", "statistics and an update"],
)
def test_result_and_report_are_the_same(rules: tuple[Rule, ...], readings: int) -> None:
    tensors = model()
    if not any(rule.update for rule in rules):
        tensors = {name: tensor for name, tensor in tensors.items() if ":" not in name}
    plan = planned(tensors, *rules)
    expected, report = carried_out(Pruning(plan, in_place=False), plan, tensors)
    found, report_of_readings, number = in_readings(plan, tensors)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert report_of_readings == report
    assert number == readings


@pytest.mark.parametrize("backend", [NumpyBackend(), TorchBackend(torch.device("cpu"))], ids=["numpy", "torch"])
@pytest.mark.parametrize("score", [Magnitude(), Random(), ImportanceScores(fall_back_to_weights=True)], ids=str)
def test_blocks_stand_for_large_tensors(score: Score, backend: Backend) -> None:
    torch.manual_seed(5)
    tensors = {f"{name}.weight": torch.randn(600, 512) * at for at, name in enumerate("abc", 1)}
    if isinstance(score, ImportanceScores):
        tensors["b.weight:scores"] = torch.rand(600, 512)
    tensors["small.weight"] = torch.randn(8, 8)
    plan = planned(tensors, replace(GLOBAL, score=score))
    readings = Readings(plan, backend)
    blocks_of: list[str] = []
    for reading in readings:
        for parameter in filter(reading.needs, plan.parameters):
            blocks = reading.blocks(parameter) if isinstance(reading, SampleReading) else None
            if blocks is None:
                reading.add(received(parameter, tensors))
                continue
            blocks_of.append(blocks.tensor)
            data = tensors[blocks.tensor].numpy().reshape(-1).view(np.uint8)
            parts = [data[begin:end] for begin, end in blocks.spans]
            assert isinstance(reading, SampleReading)
            reading.add_blocks(parameter, blocks, blocks.buffer(np.concatenate([np.empty(0, np.uint8), *parts])))
    expected = carried_out(Pruning(plan, in_place=False), plan, tensors)[0]
    found = carried_out(Pruning(plan, in_place=False, backend=backend, known=readings.known), plan, tensors)[0]
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert len(blocks_of) == (4 if isinstance(score, Random) else 3)
    assert ("b.weight:scores" in blocks_of) == isinstance(score, ImportanceScores)


@pytest.mark.parametrize(
    "rule",
    [
        replace(GLOBAL, score=Lamp()),
        replace(GLOBAL, granularity=Channels(0)),
        replace(GLOBAL, bounds=Bounds(0.1, 0.9)),
        LOCAL,
    ],
    ids=["LAMP", "channels", "bounds", "local only"],
)
def test_other_rules_are_not_searched(rule: Rule) -> None:
    tensors = {"a.weight": torch.randn(8, 8), "b.weight": torch.randn(8, 8)}
    assert planned(tensors, rule).searched == ()


def test_nan_is_found_while_it_is_read() -> None:
    tensors = {"a.weight": torch.randn(8, 8), "b.weight": torch.full((8, 8), torch.nan)}
    with pytest.raises(CheckpointError, match=r"'b\.weight' holds NaN"):
        in_readings(planned(tensors, GLOBAL), tensors)


def test_count_above_what_is_unpruned_is_refused() -> None:
    tensors = {"a.weight": torch.randn(8, 8), "b.weight": torch.randn(8, 8)}
    plan = planned(tensors, replace(GLOBAL, amount=Fraction(0.9)), replace(GLOBAL, amount=Count(100)))
    with pytest.raises(MismatchError, match="100"):
        in_readings(plan, tensors)
