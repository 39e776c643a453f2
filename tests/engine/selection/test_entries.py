"""The exact k least: the same set whatever the sample said, wherever pieces end, for any number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pruning_engine.kernels.backend import Backend, Candidates
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.runtime.threads import get_threads, set_threads
from pruning_engine.selection.entries import TUNING, NanKeyError, Tuning, select
from pruning_engine.torch_tensors import name_of
from tests.engine.buffers import flat, pack, unpack
from tests.engine.kernels.levels import COMPILED, compiled

BACKENDS = [NumpyBackend(8), NumpyBackend(), TorchBackend(torch.device("cpu"), 8), *compiled(8)]
IDS = ["numpy in pieces of 8", "numpy", "torch in pieces of 8", *COMPILED]
MISLED = Tuning(whole=1, density=0.3, deviations=0.0)
"""A sample that tells hardly anything: most passes only narrow the range."""


def candidates(backend: Backend, values: torch.Tensor, unpruned: torch.Tensor | None = None) -> Candidates:
    mask = pack(backend, unpruned) if unpruned is not None else PackedMask.full(values.numel())
    return backend.magnitudes(flat(backend, values), name_of(values.dtype), mask)


def kept(
    backend: Backend, values: torch.Tensor, count: int, unpruned: torch.Tensor | None = None, tuning: Tuning = TUNING
) -> torch.Tensor:
    (mask,) = select([candidates(backend, values, unpruned)], count, tuning=tuning).kept
    return unpack(backend, mask)


def largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Mark all but the `count` least; among equals the first ones fall."""
    order = torch.from_numpy(np.argsort(values.abs().double().numpy(), kind="stable"))
    result = torch.ones(values.numel(), dtype=torch.bool)
    result[order[:count]] = False
    return result


@pytest.fixture
def threads() -> Iterator[None]:
    before = get_threads()
    yield
    set_threads(before)


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
@pytest.mark.parametrize("tuning", [TUNING, MISLED], ids=["well sampled", "misled"])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 49, 99, 100])
def test_least_are_pruned(backend: Backend, tuning: Tuning, count: int) -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(count))
    assert torch.equal(kept(backend, values, count, tuning=tuning), largest(values, count))


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
@pytest.mark.parametrize("tuning", [TUNING, MISLED], ids=["well sampled", "misled"])
@pytest.mark.parametrize("count", [0, 1, 30, 31, 65, 99, 100])
def test_first_of_equals_are_pruned(backend: Backend, tuning: Tuning, count: int) -> None:
    values = torch.tensor([1.0, 0.0, 2.0] * 33 + [1.0])
    assert torch.equal(kept(backend, values, count, tuning=tuning), largest(values, count))


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
def test_pruned_entries_neither_compete_nor_come_back(backend: Backend) -> None:
    values = torch.arange(1.0, 21.0)
    unpruned = torch.arange(20) % 2 == 1
    assert torch.nonzero(kept(backend, values, 4, unpruned)).view(-1).tolist() == [9, 11, 13, 15, 17, 19]


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
def test_equal_scores_are_pruned_in_order_of_candidates(backend: Backend) -> None:
    equal = [candidates(backend, torch.ones(10)) for _ in range(3)]
    result = select(equal, 15)
    assert [int(unpack(backend, mask).sum()) for mask in result.kept] == [0, 5, 10]


@pytest.mark.parametrize("backend", BACKENDS, ids=IDS)
@pytest.mark.parametrize("count", [0, 1, 10], ids=["none falls", "one falls", "all fall"])
def test_nan_is_found_for_any_count(backend: Backend, count: int) -> None:
    values = torch.ones(10)
    values[9] = torch.nan
    with pytest.raises(NanKeyError):
        select([candidates(backend, values)], count)


def test_count_above_the_unpruned_is_refused() -> None:
    with pytest.raises(ValueError, match="11 of 10"):
        select([candidates(NumpyBackend(), torch.ones(10))], 11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        torch.randn,
        torch.ones,
        lambda n: torch.randn(n) * (torch.rand(n) < 0.5),
        lambda n: torch.randint(-3, 4, (n,)),
        lambda n: torch.randn(n // 16).repeat_interleave(16),
        torch.arange,
    ],
    ids=["normal", "equal", "half zeros", "few values", "runs of equals", "sorted"],
)
@pytest.mark.parametrize("part", [0.001, 0.5, 0.97])
def test_large_tensors_of_any_kind(dtype: torch.dtype, make: object, part: float) -> None:
    assert callable(make)
    values = make(160_000).to(dtype)
    count = int(part * len(values))
    assert torch.equal(kept(NumpyBackend(), values, count), largest(values, count))


def test_every_number_of_threads_gives_the_same(threads: None) -> None:
    values = torch.randint(0, 50, (300_000,)).to(torch.float32)
    results = []
    for count in (1, 2, 5):
        set_threads(count)
        results.append(kept(NumpyBackend(1 << 12), values, 100_001))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_at_least_one_thread_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        set_threads(0)
