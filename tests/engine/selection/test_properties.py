"""Whatever the dtypes, shapes, masks, norms and amounts: the engine prunes what the oracle prunes, in every backend."""

from dataclasses import dataclass
from math import inf
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.readings import Readings
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Amount,
    Channels,
    CustomMask,
    Entries,
    Fraction,
    Granularity,
    Identity,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Norm,
    OutputForm,
    Prior,
    Random,
    Recipe,
    Rule,
    Scope,
    Selector,
    Sparsity,
)
from pruning_engine.selection import entries
from pruning_engine.selection.entries import TUNING, Tuning
from tests.engine import oracle
from tests.engine.buffers import received, results
from tests.engine.kernels.levels import COMPILED, compiled
from tests.engine.packed import unpack

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64]
NORMS: list[Norm | None] = [None, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, inf, -inf, NamedNorm.FRO]
MISLED = Tuning(whole=4, density=1.0, deviations=0.0)


@dataclass
class Case:
    """Weights, companions, and rules that act on all of them."""

    weights: dict[str, torch.Tensor]
    companions: dict[str, torch.Tensor]
    rules: list[Rule]
    seed: int


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...], dtypes: list[torch.dtype]) -> torch.Tensor:
    dtype = draw(st.sampled_from(dtypes))
    entries = int(np.prod(shape))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        pool = np.array(draw(st.sampled_from([[info.min, info.max, 0, 1], [0, 1, 2, 3]])), dtype=str(dtype)[6:])
        return torch.from_numpy(random.choice(pool, entries)).reshape(shape)
    values = torch.from_numpy(random.standard_normal(entries))
    special = torch.from_numpy(random.choice([0.0, -0.0, 1.0, -1.0, 2.0**-7, inf], entries))
    if dtype is torch.float8_e4m3fn:
        special[special == inf] = 448.0
    return draw(st.sampled_from([values, (values * 2).round() / 2, special])).to(dtype).reshape(shape)


@st.composite
def rules(draw: st.DrawFn, names: tuple[str, ...]) -> Rule:
    select, prior = Selector(names), draw(st.sampled_from(list(Prior)))
    kind = draw(st.sampled_from([Magnitude, Magnitude, ImportanceScores, Random, CustomMask, Identity]))
    if kind in (CustomMask, Identity):
        return Rule(score=kind(), select=select, prior=prior)
    grains: list[Granularity] = [Entries(), Channels(0), Channels(1), Channels(-1), Channels(-2)]
    grain = draw(st.sampled_from(grains))
    norm = draw(st.sampled_from(NORMS)) if isinstance(grain, Channels) else None
    part = draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]) | st.floats(0, 1))
    amounts: list[Amount] = [Fraction(part), Sparsity(part)]
    return Rule(
        score=Random() if kind is Random else kind(norm),
        amount=draw(st.sampled_from(amounts)),
        granularity=grain,
        scope=draw(st.sampled_from([Scope.LOCAL, Scope.GLOBAL])),
        prior=prior,
        select=select,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dtypes = draw(st.sampled_from([FLOATS + INTEGERS, *([dtype] for dtype in FLOATS + INTEGERS)]))
    names = tuple(draw(st.lists(st.sampled_from(["a", "b", "B", "é", "z"]), min_size=1, max_size=3, unique=True)))
    chain = draw(st.lists(rules(names), min_size=1, max_size=3))
    weights, companions = {}, {}
    for name in names:
        shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 9]), min_size=2, max_size=3)))
        weights[name] = draw(tensors(shape, dtypes))
        random = np.random.default_rng(draw(st.integers(0, 2**32)))
        if draw(st.booleans()):
            alive = random.random(weights[name].numel()) < draw(st.sampled_from([0.0, 0.5, 0.9]))
            companions[f"{name}:mask_bits"] = torch.from_numpy(np.packbits(alive, bitorder="little"))
        if any(isinstance(rule.score, CustomMask) for rule in chain):
            kept = torch.from_numpy(random.random(shape) < 0.8)
            companions[f"{name}:mask"] = kept.to(draw(st.sampled_from([torch.bool, torch.float32, torch.int64])))
        if any(isinstance(rule.score, ImportanceScores) for rule in chain):
            companions[f"{name}:scores"] = draw(tensors(shape, dtypes))
    return Case(weights, companions, chain, draw(st.integers(0, 2**64 - 1)))


def masks(case: Case, backend: Backend) -> dict[str, torch.Tensor]:
    return _masks_of(case, Pruning(_plan(case), in_place=False, backend=backend))


def masks_in_readings(case: Case, backend: Backend) -> dict[str, torch.Tensor] | None:
    """Return the masks if no parameter waits for another; None where a rule has to hold them."""
    plan = _plan(case)
    if not plan.searched:
        return None
    readings = Readings(plan, backend)
    for reading in readings:
        for planned in filter(reading.needs, reversed(plan.parameters)):
            reading.add(received(planned, case.weights | case.companions))
    return _masks_of(case, Pruning(plan, in_place=False, backend=backend, known=readings.known), waits=False)


def _plan(case: Case) -> Plan:
    specs = [spec_of(name, tensor) for name, tensor in (case.weights | case.companions).items()]
    options = PlanOptions(can_read_again=True)
    return make_plan(Recipe(tuple(case.rules), case.seed), specs, output=OutputForm.MASK, options=options)


def _masks_of(case: Case, pruning: Pruning, *, waits: bool = True) -> dict[str, torch.Tensor]:
    found = {}
    for planned in reversed(_plan(case).parameters):
        finished = pruning.add(received(planned, case.weights | case.companions))
        assert waits or [state.planned.name for state in finished] == [planned.name]
        for state in finished:
            (bits,) = results([state]).values()
            found[state.planned.name] = unpack(bits, case.weights[state.planned.name])
    return found


@pytest.mark.parametrize(
    ("backend", "tuning"),
    [
        (NumpyBackend(), TUNING),
        (NumpyBackend(8), MISLED),
        *((backend, MISLED) for backend in compiled(8)),
        (TorchBackend(torch.device("cpu")), TUNING),
        (TorchBackend(torch.device("cpu"), 16), MISLED),
    ],
    ids=["numpy", "numpy in pieces, misled", *COMPILED, "torch", "torch in pieces, misled"],
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)
@given(case=cases())
def test_the_engine_prunes_what_the_oracle_prunes(backend: Backend, tuning: Tuning, case: Case) -> None:
    expected = oracle.prune(case.weights, case.rules, case.seed, case.companions)
    before = {name: tensor.clone() for name, tensor in (case.weights | case.companions).items()}
    with mock.patch.object(entries, "TUNING", tuning):
        found, read = masks(case, backend), masks_in_readings(case, backend)
    assert read is None or read.keys() == found.keys()
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert torch.equal(found[name], mask), name
        assert read is None or torch.equal(read[name], mask), name
    for name, tensor in (case.weights | case.companions).items():
        assert torch.equal(_bytes(tensor), _bytes(before[name])), name


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)
