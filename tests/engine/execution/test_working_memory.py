"""The memory that a plan reserves for rules that use statistics, compared with what numpy allocates."""

import tracemalloc
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Alps,
    Fraction,
    Magnitude,
    NOfM,
    Recipe,
    Refit,
    Rule,
    Selector,
    SparseGpt,
    Swaps,
    Update,
)
from pruning_engine.scores.obs import ObsScore
from pruning_engine.scores.score import Score

W, GRAM = "w", "w:in_gram"


def planned(score: Score, update: Update | None, rows: int, columns: int) -> Plan:
    rule = Rule(score=score, amount=Fraction(0.5), update=update, input_dim=1, select=Selector((W,)))
    return plan_of(rule, (rows, columns))


def plan_of(rule: Rule, shape: tuple[int, ...]) -> Plan:
    columns = prod(shape[1:])
    specs = (TensorSpec(GRAM, "F32", (columns, columns)), TensorSpec(W, "F32", shape))
    return make_plan(Recipe((rule,), seed=0), specs)


def received(plan: Plan) -> ReceivedParameter:
    (parameter,) = plan.parameters
    columns = prod(parameter.shape[1:])
    chance = np.random.default_rng(0)
    inputs = chance.standard_normal((2 * columns, columns), np.float32)
    arrays = {W: chance.standard_normal(parameter.shape, np.float32), GRAM: inputs.T @ inputs}
    return ReceivedParameter(parameter, {name: Buffer("F32", array.shape, array) for name, array in arrays.items()})


def allocated_bytes(plan: Plan) -> int:
    """Return the most bytes that numpy holds while a plan is carried out, its input included."""
    Pruning(plan).add(received(plan))  # buffers of a thread that are kept from call to call
    parameter = received(plan)
    source_bytes = parameter.nbytes
    tracemalloc.start()
    try:
        Pruning(plan).add(parameter)
        return source_bytes + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("rows", "columns"), [(2048, 512), (512, 1536)], ids=["tall", "wide"])
@pytest.mark.parametrize(
    ("score", "update"),
    [
        (Magnitude(), Refit(steps=2)),
        (ObsScore(), SparseGpt()),
        (ObsScore(), Refit(steps=2)),
        (Alps(steps=4), Refit(steps=2)),
    ],
    ids=["refit", "SparseGPT", "SparseGPT and refit", "ALPS and refit"],
)
def test_reserved_memory_is_what_is_taken(score: Score, update: Update, rows: int, columns: int) -> None:
    plan = planned(score, update, rows, columns)
    assert allocated_bytes(plan) == pytest.approx(plan.peak_bytes, rel=0.1)


@pytest.mark.parametrize(
    "changes", [{"score": ObsScore(), "update": SparseGpt()}, {"swaps": Swaps()}], ids=["obs", "swaps"]
)
def test_reserved_memory_covers_another_order_of_columns(changes: Any) -> None:
    rule = Rule(score=Magnitude(), granularity=NOfM(2, 4, dim=1), input_dim=1, select=Selector((W,)))
    plan = plan_of(replace(rule, **changes), (256, 128, 3, 3))
    assert 0.8 * plan.peak_bytes < allocated_bytes(plan) <= plan.peak_bytes
