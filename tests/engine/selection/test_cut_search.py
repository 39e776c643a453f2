"""Cuts that are found in samples and counts: exact whatever the sample says, and whoever does which tensor."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.selection.cut_search import Cut, CutSearch
from pruning_engine.selection.entries import TUNING, Tuning, select
from pruning_engine.selection.samples import BLOCKS, BlockTuning

Weights = dict[str, npt.NDArray[np.float32]]
BACKEND = NumpyBackend()
MISLED = replace(TUNING, whole=4, density=0.5, deviations=0.0, most_collected=10)


def candidates(weight: npt.NDArray[np.float32]) -> Candidates:
    flat = Buffer("F32", (weight.size,), weight.reshape(-1))
    return BACKEND.magnitudes(flat, "F32", PackedMask.full(weight.size))


def expected(weights: Weights, count: int) -> dict[str, bytes]:
    names = sorted(weights)
    kept = select([candidates(weights[name]) for name in names], count).kept
    return {name: bytes(BACKEND.bits(mask).array) for name, mask in zip(names, kept, strict=True)}


def kept(weights: Weights, cut: Cut) -> dict[str, bytes]:
    return {name: bytes(BACKEND.bits(cut.kept(name, candidates(weight))).array) for name, weight in weights.items()}


def searched(weights: Weights, count: int, tuning: Tuning, parts: int) -> tuple[Cut, int]:
    """Return the cut that several searches find together, and how often they looked."""
    entries = sum(weight.size for weight in weights.values())
    of_part = [list(weights)[part::parts] for part in range(parts)]
    leader = CutSearch(entries, tuning)
    for names in of_part:
        search = CutSearch(entries, tuning)
        for name in names:
            search.sample(candidates(weights[name]), seed=len(name))
        leader.add_sampled(search.sampled)
    cut, looks = leader.aim(count), 0
    while cut is None:
        looks += 1
        for names in of_part:
            search = CutSearch(entries, tuning)
            search.look_between(*leader.bracket)
            for name in names:
                search.look(name, candidates(weights[name]))
            leader.add_looked(search.looked)
        cut = leader.settle()
    return cut, looks


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    levels=st.sampled_from([0, 2, 9]),
    part=st.floats(0, 1),
    tuning=st.sampled_from([TUNING, MISLED, replace(MISLED, most_collected=0)]),
    parts=st.integers(1, 3),
)
def test_cut_is_exact(seed: int, sizes: list[int], levels: int, part: float, tuning: Tuning, parts: int) -> None:
    random = np.random.default_rng(seed)
    weights = {f"w{at}": random.standard_normal(size).astype(np.float32) for at, size in enumerate(sizes)}
    if levels:
        weights = {name: np.round(weight * levels) / np.float32(levels) for name, weight in weights.items()}
    count = round(part * sum(sizes))
    cut, _ = searched(weights, count, tuning, parts)
    assert kept(weights, cut) == expected(weights, count)


def test_too_many_keys_are_counted_in_buckets() -> None:
    random = np.random.default_rng(1)
    weights = {f"w{at}": random.standard_normal(50_000).astype(np.float32) for at in range(3)}
    whole = replace(TUNING, whole=4, density=0.01)
    cut, looks = searched(weights, 70_000, whole, 1)
    again, more = searched(weights, 70_000, replace(whole, most_collected=100), 3)
    assert again == cut
    assert looks == 1 < more <= 4


@pytest.mark.parametrize("nbytes", [1 << 20, (1 << 20) + 2, 5_000_000, 1 << 26])
def test_blocks_are_within_the_tensor_and_apart(nbytes: int) -> None:
    for key in range(20):
        spans = BLOCKS.spans(nbytes, BLOCKS.block_bytes(nbytes * 8), key * 0x9E3779B97F4A7C15 % 2**64)
        assert len(spans) >= BLOCKS.least_blocks
        assert all(0 <= begin < end <= nbytes and not begin % 4096 for begin, end in spans)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        assert 0.03 < sum(end - begin for begin, end in spans) / nbytes < 0.13


def in_blocks(weights: Weights, count: int, layout: BlockTuning, seed: int) -> tuple[Cut, int]:
    """Return the cut by samples of blocks, and how often was looked."""
    search = CutSearch(sum(weight.size for weight in weights.values()))
    for at, weight in enumerate(weights.values()):
        spans = layout.spans(weight.nbytes, 8192, seed * 977 + at)
        data = np.concatenate([weight.reshape(-1).view(np.uint8)[begin:end] for begin, end in spans])
        search.sample_blocks(candidates(data.view(np.float32)), len(spans), weight.size, seed)
    cut, looks = search.aim(count), 0
    while cut is None:
        looks += 1
        for name, weight in weights.items():
            search.look(name, candidates(weight))
        cut = search.settle()
    return cut, looks


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_rows_that_are_alike_do_not_mislead(part: float) -> None:
    random = np.random.default_rng(3)
    scales = np.exp(random.standard_normal((4, 512, 1)))  # each row, of 2 KiB, has a scale of its own
    weights = {f"w{at}": (scales[at] * random.standard_normal((512, 512))).astype(np.float32) for at in range(4)}
    count = round(part * 4 * 512 * 512)
    wanted = expected(weights, count)
    looks = []
    for seed in range(12):
        cut, looked = in_blocks(weights, count, BLOCKS, seed)
        assert kept(weights, cut) == wanted
        looks.append(looked)
    assert sum(looks) <= len(looks) + 1


def test_blocks_of_equal_entries_are_exact_too() -> None:
    weights = {"a": np.repeat(np.arange(128, dtype=np.float32), 4096), "b": np.zeros(1 << 19, np.float32)}
    for count in (1, 1 << 18, (1 << 19) + 5, 1 << 20):
        cut, _ = in_blocks(weights, count, BLOCKS, 5)
        assert kept(weights, cut) == expected(weights, count)
