"""Groups of entries that compete: the engine prunes what sorting each group prunes, in every backend."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_engine import get_threads, set_threads
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.kernels.random_keys import score as random_score
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Amount,
    Fraction,
    ImportanceScores,
    Magnitude,
    NOfM,
    OutputForm,
    Random,
    Recipe,
    Rule,
    Selector,
    Sparsity,
    WeightedMagnitude,
)
from tests.engine.buffers import received, results
from tests.engine.kernels.levels import COMPILED, compiled
from tests.engine.packed import pack, unpack

DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
]
NARROW = DTYPES[:1] + DTYPES[2:6]
SEED = 5


@dataclass
class Case:
    """A weight `w` with what is sent beside it, and one rule."""

    tensors: dict[str, torch.Tensor]
    rule: Rule

    @property
    def unpruned(self) -> torch.Tensor:
        bits = self.tensors.get("w:mask_bits")
        weight = self.tensors["w"]
        return torch.ones(weight.shape, dtype=torch.bool) if bits is None else unpack(bits, weight)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    m = draw(st.sampled_from([2, 3, 4, 8, 32]))
    is_grouped = draw(st.booleans())
    along = m * draw(st.integers(0, 5)) if is_grouped else draw(st.sampled_from([0, 1, 3, 8, 33, 40, 100]))
    others = draw(st.lists(st.sampled_from([0, 1, 2, 3, 9, 17]), min_size=1, max_size=2))
    dim = draw(st.integers(0, len(others))) if is_grouped else len(others)
    shape = (*others[:dim], along, *others[dim:])
    weight = torch.from_numpy(random.integers(-4, 5, shape)).to(torch.float64)
    if draw(st.booleans()):
        weight *= torch.from_numpy(random.standard_normal(shape))
    dtype = draw(st.sampled_from(DTYPES))
    tensors = {"w": (weight if dtype.is_signed else weight.abs()).to(dtype)}
    if draw(st.booleans()):
        alive = random.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))
        tensors["w:mask_bits"] = pack(torch.from_numpy(alive))
    score = draw(
        st.sampled_from([Magnitude(), Random(), ImportanceScores(), WeightedMagnitude(1), WeightedMagnitude(0)])
    )
    if isinstance(score, ImportanceScores):
        tensors["w:scores"] = torch.from_numpy(random.integers(-3, 4, shape)).to(torch.float16)
    if isinstance(score, WeightedMagnitude) and score.dim is not None:
        norms = np.abs(random.standard_normal(shape[score.dim])) * (random.random(shape[score.dim]) < 0.8)
        tensors["w:in_norm"] = torch.from_numpy(norms).to(draw(st.sampled_from([torch.float32, torch.float64])))
    select = Selector(("w",))
    if is_grouped:
        pattern = NOfM(draw(st.integers(1, m - 1)), m, draw(st.sampled_from([dim, dim - len(shape)])))
        return Case(tensors, Rule(score=score, granularity=pattern, select=select))
    part = draw(st.floats(0, 1))
    score = score if isinstance(score, WeightedMagnitude) else WeightedMagnitude(1)
    if "w:in_norm" not in tensors:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "w:scores"}
        tensors["w:in_norm"] = torch.from_numpy(np.abs(random.standard_normal(shape[1])))
    amounts: list[Amount] = [Fraction(part), Sparsity(part)]
    return Case(tensors, Rule(score=score, amount=draw(st.sampled_from(amounts)), select=select))


def importance(case: Case) -> list[float] | list[int]:
    weight, score = case.tensors["w"], case.rule.score
    if isinstance(score, Random):
        key = key_of(SEED, 0, "w")
        return [random_score(key, index) for index in range(weight.numel())]
    if isinstance(score, WeightedMagnitude):
        kind = torch.float32 if weight.dtype in NARROW else torch.float64
        shape = [-1 if dim == score.dim else 1 for dim in range(weight.dim())]
        products = weight.to(kind).abs() * case.tensors["w:in_norm"].to(kind).view(shape)
        floats: list[float] = products.to(torch.float64).reshape(-1).tolist()
        return floats
    ranked = case.tensors["w:scores"] if isinstance(score, ImportanceScores) else weight
    numbers = ranked if not ranked.dtype.is_floating_point else ranked.to(torch.float64)
    return [abs(value) for value in numbers.reshape(-1).tolist()]


def groups(case: Case) -> list[list[int]]:
    """The flat indices of each group."""
    weight = case.tensors["w"]
    indices = torch.arange(weight.numel()).reshape(weight.shape)
    if isinstance(case.rule.granularity, NOfM):
        assert case.rule.granularity.dim is not None
        rows = indices.movedim(case.rule.granularity.dim, -1).reshape(-1, case.rule.granularity.m)
        return [[int(index) for index in row] for row in rows]
    assert isinstance(case.rule.score, WeightedMagnitude)
    out_dim = 1 if case.rule.score.dim == 0 else 0
    return [indices.select(out_dim, channel).reshape(-1).tolist() for channel in range(weight.shape[out_dim])]


def expected(case: Case) -> torch.Tensor:
    mask, values = case.unpruned.clone(), importance(case)
    flat = mask.view(-1)
    for group in groups(case):
        alive = [index for index in group if flat[index]]
        granularity = case.rule.granularity
        if isinstance(granularity, NOfM):
            count = max(0, len(alive) - granularity.n)
        else:
            assert case.rule.amount is not None
            count = case.rule.amount.of(len(alive), len(group))
        for index in sorted(alive, key=lambda index: (values[index], index))[:count]:
            flat[index] = False
    return mask


def found(case: Case, backend: Backend) -> torch.Tensor:
    specs = [spec_of(name, tensor) for name, tensor in case.tensors.items()]
    plan = make_plan(Recipe((case.rule,), SEED), specs, output=OutputForm.MASK)
    (state,) = Pruning(plan, in_place=False, backend=backend).add(received(plan.parameters[0], case.tensors))
    (bits,) = results([state]).values()
    return unpack(bits, case.tensors["w"])


@pytest.mark.parametrize(
    "backend",
    [NumpyBackend(8), *compiled(8), TorchBackend(torch.device("cpu")), TorchBackend(torch.device("cpu"), 16)],
    ids=["numpy in pieces", *COMPILED, "torch", "torch in pieces"],
)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)
@given(case=cases())
def test_each_group_loses_its_least_entries(backend: Backend, case: Case) -> None:
    assert torch.equal(found(case, backend), expected(case))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(score=Magnitude(), granularity=NOfM(2, 4, -1)),
        Rule(score=Random(), granularity=NOfM(5, 32, -1)),
        Rule(score=Magnitude(), granularity=NOfM(1, 3, 0)),
        Rule(score=WeightedMagnitude(1), amount=Fraction(0.3)),
        Rule(score=WeightedMagnitude(0), amount=Fraction(0.3)),
    ],
    ids=["2:4", "random 5:32", "1:3 along dim 0", "rows", "columns"],
)
def test_the_number_of_threads_changes_nothing(rule: Rule) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(96, 96, generator=generator).to(torch.bfloat16)
    bits = pack(torch.rand(96, 96, generator=generator) < 0.9)
    tensors = {"w": weight, "w:mask_bits": bits}
    if isinstance(rule.score, WeightedMagnitude):
        tensors["w:in_norm"] = torch.rand(96, generator=generator)
    case = Case(tensors, replace(rule, select=Selector(("w",))))
    before, masks = get_threads(), []
    try:
        for threads in (1, 2, 7):
            set_threads(threads)
            masks.append(found(case, NumpyBackend(256)))
    finally:
        set_threads(before)
    assert all(torch.equal(mask, expected(case)) for mask in masks)
