"""The device memory that a plan reserves covers what the device's kernels allocate, counted on CPU tensors."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.executor import Pruning
from pruning_engine.planning.memory.device_memory import ALLOWANCE_BYTES, device_bytes
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Blocks,
    Channels,
    CustomMask,
    Fraction,
    ImportanceScores,
    Lamp,
    Magnitude,
    NOfM,
    ObsScore,
    OutputForm,
    Prior,
    Random,
    Recipe,
    Refit,
    RelativeImportance,
    Rule,
    Scope,
    SparseGpt,
    WeightedMagnitude,
)
from pruning_engine.runtime.threads import get_threads, set_threads
from pruning_engine.torch_tensors import name_of
from tests.engine.buffers import received
from tests.engine.calibrated import gram, inputs
from tests.engine.kernels.device_allocations import counted
from tests.engine.scaled import random_codes, random_scale
from tests.engine.tied import group, units

Tensors = Mapping[str, torch.Tensor]

ROWS, COLUMNS = 96, 128
HALF = Fraction(0.5)
W = "a.weight"
PIECES = {"in one piece": 1 << 24, "in many pieces": 1 << 10}

UNSTRUCTURED = Rule(score=Magnitude(), amount=HALF)
RULES: Mapping[str, Sequence[Rule]] = {
    "unstructured": [UNSTRUCTURED],
    "zeros count": [Rule(score=Magnitude(), amount=HALF, prior=Prior.ZEROS)],
    "random": [Rule(score=Random(), amount=HALF)],
    "channels": [Rule(score=Magnitude(3.0), amount=HALF, granularity=Channels(1))],
    "units": [units(group(f"{W}:0"))],
    "blocks": [Rule(score=Magnitude(), amount=HALF, granularity=Blocks(4, 4))],
    "2:4": [Rule(score=Magnitude(), granularity=NOfM(2, 4))],
    "2:4, strided": [Rule(score=Random(), granularity=NOfM(2, 4, dim=0))],
    "output channels": [Rule(score=Magnitude(), amount=HALF, scope=Scope.OUTPUT_CHANNEL, input_dim=1)],
    "relative importance": [Rule(score=RelativeImportance(), amount=HALF, input_dim=1)],
    "Wanda": [Rule(score=WeightedMagnitude(), amount=HALF, scope=Scope.OUTPUT_CHANNEL, input_dim=1)],
    "scores": [Rule(score=ImportanceScores(), amount=HALF)],
    "custom mask": [Rule(score=CustomMask())],
    "global": [Rule(score=Magnitude(), amount=HALF, scope=Scope.GLOBAL)],
    "LAMP": [Rule(score=Lamp(), amount=HALF, scope=Scope.GLOBAL)],
    "global, then 2:4": [
        Rule(score=Magnitude(), amount=Fraction(0.2), scope=Scope.GLOBAL),
        Rule(score=Magnitude(), granularity=NOfM(2, 4, dim=0)),
    ],
    "refit": [Rule(score=Magnitude(), amount=HALF, update=Refit(steps=1), input_dim=1)],
    "SparseGPT": [Rule(score=ObsScore(), amount=HALF, update=SparseGpt(), input_dim=1)],
}
NEEDED = {
    "Wanda": ":in_norm",
    "scores": ":scores",
    "custom mask": ":mask",
    "refit": ":in_gram",
    "SparseGPT": ":in_gram",
}
DTYPES = [torch.float32, torch.bfloat16]


def weights(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return three weights and a bias."""
    torch.manual_seed(1)
    return {f"{name}.weight": torch.randn(ROWS, COLUMNS).to(dtype) for name in "abc"} | {"a.bias": torch.zeros(ROWS)}


def auxiliary(suffix: str) -> torch.Tensor:
    """Return the auxiliary tensor that a rule needs."""
    made = {
        ":in_norm": torch.rand(COLUMNS),
        ":scores": torch.rand(ROWS, COLUMNS),
        ":mask": (torch.rand(ROWS, COLUMNS) > 0.5).float(),
        ":in_gram": gram(inputs(COLUMNS)).float(),
    }
    return made[suffix]


def model(kind: str, dtype: torch.dtype) -> Tensors:
    """Return a model with what the rules of a kind need."""
    suffix, tensors = NEEDED.get(kind), weights(dtype)
    return tensors if suffix is None else tensors | {name + suffix: auxiliary(suffix) for name in list(tensors)[:3]}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Count what one thread allocates: the mode that counts is one thread's."""
    before = get_threads()
    set_threads(1)
    yield
    set_threads(before)


def specs(tensors: Tensors) -> list[TensorSpec]:
    return [TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()]


def planned(tensors: Tensors, rules: Sequence[Rule], output: OutputForm, *, can_read_again: bool = False) -> Plan:
    options = PlanOptions(can_read_again=can_read_again)
    return make_plan(Recipe(tuple(rules), 1), specs(tensors), output=output, options=options)


def check_covered(tensors: Tensors, rules: Sequence[Rule], output: OutputForm, piece_entries: int) -> None:
    """Compare what is reserved, but for the allowance, with what is allocated."""
    plan = planned(tensors, rules, output)
    given = [received(parameter, tensors) for parameter in plan.parameters]
    with counted(piece_entries) as (backend, allocations):
        pruning = Pruning(plan, backend=backend, counts_zeros=True)
        for parameter in given:
            pruning.add(parameter)
    reserved = device_bytes(plan, specs(tensors), piece_entries) - ALLOWANCE_BYTES
    assert 0 < allocations.peak_bytes <= reserved


@pytest.mark.parametrize("piece_entries", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", RULES)
def test_what_is_reserved_covers_what_is_allocated(kind: str, dtype: torch.dtype, piece_entries: int) -> None:
    output = OutputForm.PRUNED if kind in {"refit", "SparseGPT"} else OutputForm.MASKED
    check_covered(model(kind, dtype), RULES[kind], output, piece_entries)


@pytest.mark.parametrize("piece_entries", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("kind", ["unstructured", "channels", "relative importance", "global"])
def test_what_is_reserved_covers_scaled_weights(kind: str, piece_entries: int) -> None:
    tensors = {W: random_codes(ROWS, COLUMNS), f"{W}_scale_inv": random_scale(3, 4)}
    check_covered(tensors, RULES[kind], OutputForm.PRUNED, piece_entries)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_reserved_covers_pairs_of_weight_and_mask(dtype: torch.dtype) -> None:
    mask = (torch.rand(ROWS, COLUMNS) > 0.5).to(dtype)
    tensors = {f"{W}_orig": torch.randn(ROWS, COLUMNS).to(dtype), f"{W}_mask": mask}
    check_covered(tensors, [UNSTRUCTURED], OutputForm.PRUNED, 1 << 10)


def test_units_that_are_removed_are_covered() -> None:
    tensors = {W: torch.randn(ROWS, COLUMNS), "b.weight": torch.randn(COLUMNS, ROWS)}
    check_covered(tensors, [units(group(f"{W}:0", "b.weight:1"))], OutputForm.REMOVED, 1 << 10)


def test_rules_of_global_scope_hold_all_tensors_unless_they_read_again() -> None:
    tensors = {f"{number}.weight": torch.zeros(1024, 1024) for number in range(40)}
    rules, sizes = RULES["global"], specs(tensors)
    model_bytes = 40 * 1024 * 1024 * 4
    held = device_bytes(planned(tensors, rules, OutputForm.PRUNED), sizes, 1 << 10)
    again = device_bytes(planned(tensors, rules, OutputForm.PRUNED, can_read_again=True), sizes, 1 << 10)
    assert held - again > 0.9 * model_bytes


def test_more_threads_take_more_pieces() -> None:
    tensors, sizes = weights(torch.float32), specs(weights(torch.float32))
    plan = planned(tensors, [UNSTRUCTURED], OutputForm.PRUNED)
    alone = device_bytes(plan, sizes, 1 << 10)
    set_threads(4)
    assert device_bytes(plan, sizes, 1 << 10) > alone
