"""The compiled kernels compute the bits that numpy computes, on every instruction set of this machine."""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from pruning_engine import get_kernels, set_kernels
from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.compiled.backend import CompiledBackend
from pruning_engine.kernels.compiled.library import (
    PATH,
    Bracket,
    Found,
    address,
    available_kernels,
    kernels_of,
    load,
)
from pruning_engine.kernels.cpu.arrays import nth_least
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.group_layout import GroupLayout, group_layout
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number
from pruning_engine.kernels.packed_mask import PackedMask, full_bits, packed_slice
from pruning_engine.selection.entries import select
from tests.engine.kernels.levels import COMPILED

pytestmark = pytest.mark.skipif(load() is None, reason="the compiled kernels are not installed: no C compiler")

NUMPY = NumpyBackend()
FLOATS = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]
SIZES = [1, 63, 64, 201, 9001]
each_level = pytest.mark.parametrize("level", COMPILED)
each_dtype = pytest.mark.parametrize("dtype", FLOATS)
each_size = pytest.mark.parametrize("entries", SIZES)


@pytest.fixture(autouse=True)
def same_kernels_afterwards() -> Iterator[None]:
    before = get_kernels()
    yield
    set_kernels(before)


def weights(dtype: str, entries: int, seed: int = 0) -> Buffer:
    """Return normal floats of few different magnitudes, with both zeros and infinity; they begin at an odd address."""
    generator = np.random.default_rng(seed)
    carrier = CARRIERS[dtype]
    top = largest_number(dtype) or 0
    keys = generator.integers(0, top + 1, entries, dtype=np.uint64) & ~np.uint64(7)
    keys[generator.random(entries) < 0.1] = 0
    keys[generator.random(entries) < 0.01] = top
    signs = generator.integers(0, 2, entries, dtype=np.uint64) << np.uint64(carrier.itemsize * 8 - 1)
    memory = np.empty(entries * carrier.itemsize + 1, np.uint8)
    array = memory[1:].view(carrier)
    array.view(f"u{carrier.itemsize}")[:] = (keys | signs).astype(f"u{carrier.itemsize}")
    return Buffer(dtype, (entries,), array)


def prior(entries: int, seed: int = 1) -> PackedMask:
    bits = np.random.default_rng(seed).integers(0, 256, len(full_bits(entries)), dtype=np.uint8) & full_bits(entries)
    return PackedMask(entries, bits)


def masks(entries: int) -> Sequence[PackedMask]:
    return PackedMask.full(entries), prior(entries)


def split(candidates: Any, low: int, high: int) -> tuple[Any, ...]:
    """Return what a pass wrote and found, comparable."""
    kept = candidates.blank()
    entries = candidates.entries
    found = candidates.split((0, entries), low, high, kept)
    collected = [None if part is None else part.tolist() for part in (found.positions, found.keys)]
    return kept.bits[packed_slice(0, entries)].tolist(), found.kept, found.inside, found.has_nan, *collected


@each_level
@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_tensors_are_selected_in_one_step(level: str, dtype: str) -> None:
    entries = 20_001
    carrier = CARRIERS[dtype]
    bits = np.random.default_rng(3).integers(0, largest_number(dtype) or 0, entries, dtype=np.uint64)
    flat = Buffer(dtype, (entries,), bits.astype(f"u{carrier.itemsize}").view(carrier))
    for mask in masks(entries):
        reference = NUMPY.magnitudes(flat, dtype, mask)
        expected = select([reference], reference.unpruned // 3)
        found = CompiledBackend(level).magnitudes(flat, dtype, mask).least(reference.unpruned // 3, 6)
        assert found is not None
        kept, expected_bits = found.kept.bits, expected.kept[0].bits
        assert kept is not None
        assert expected_bits is not None
        assert kept.tolist() == expected_bits.tolist()
        assert found.largest_pruned == expected.largest_pruned


@each_level
@each_dtype
@each_size
def test_splits_of_magnitudes_are_equal(level: str, dtype: str, entries: int) -> None:
    flat = weights(dtype, entries)
    top = highest_key(dtype)
    for mask in masks(entries):
        for low, high in [(0, 0), (0, top), (top // 3, top // 2), (top // 2 & ~7, top // 2 & ~7), (1, 8), (top, top)]:
            expected = split(NUMPY.magnitudes(flat, dtype, mask), low, high)
            backend = CompiledBackend(level)
            assert split(backend.magnitudes(flat, dtype, mask), low, high) == expected


@each_level
@each_dtype
@pytest.mark.parametrize("room", [0, 1, 40, 500, 1000])
def test_no_more_is_collected_than_there_is_room_for(level: str, dtype: str, room: int) -> None:
    flat, top = weights(dtype, 9001), highest_key(dtype)
    bits = flat.array.view(f"u{flat.array.itemsize}")
    low, high = (int(key) for key in np.quantile(bits & top, [0.45, 0.5], method="lower"))
    inside = np.flatnonzero(((bits & top) >= low) & ((bits & top) <= high))
    bracket, found = Bracket(low, high, top), Found()
    positions, keys = np.full(9001, 77, np.uint32), np.full(9001, 77, bits.dtype)
    kernels_of(level).function(f"split_{bits.itemsize * 8}")(
        *(address(bits), 9001, top, ctypes.addressof(bracket), None, None),
        *(address(positions), address(keys), room, ctypes.addressof(found)),
    )
    assert found.inside == len(inside)
    assert (positions[room:] == 77).all()
    assert (keys[room:] == 77).all()
    if len(inside) <= room:
        assert positions[: len(inside)].tolist() == inside.tolist()


@each_level
@each_dtype
@pytest.mark.parametrize("entries", [15, 200, 20_003])
@pytest.mark.parametrize("stride", [2, 7, 109])
def test_samples_are_equal(level: str, dtype: str, entries: int, stride: int) -> None:
    flat, backend = weights(dtype, entries), CompiledBackend(level)
    for mask in masks(entries):
        for seed in (0, 2**64 - 1):
            expected = NUMPY.magnitudes(flat, dtype, mask).sample(stride, seed)
            assert backend.magnitudes(flat, dtype, mask).sample(stride, seed).tolist() == expected.tolist()


@each_level
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("count", [1, 2, 1001])
def test_keys_of_a_rank_are_equal(level: str, bits: int, count: int) -> None:
    candidates = CompiledBackend(level).random(0, PackedMask.full(1))
    top = 2**bits - 1
    for low, high in ((0, top), (top - 3, top), (top // 3, top // 3 + 300 % top // 3), (5, 5)):
        keys = np.random.default_rng(1).integers(low, high, count, f"u{bits // 8}", endpoint=True)
        for rank in {0, count // 2, count - 1}:
            assert candidates.nth_least(keys.copy(), rank) == nth_least(keys, rank)


@each_level
@each_size
def test_masks_are_counted_alike(level: str, entries: int) -> None:
    for mask in masks(entries):
        assert CompiledBackend(level).count(mask) == NUMPY.count(mask)


@each_level
@each_dtype
def test_nan_is_found_unless_it_is_pruned(level: str, dtype: str) -> None:
    flat = weights(dtype, 100)
    flat.array.view(f"u{flat.array.itemsize}")[90] = highest_key(dtype)
    kept = full_bits(100)
    kept[90 // 8] = 0
    backend = CompiledBackend(level)
    assert split(backend.magnitudes(flat, dtype, PackedMask.full(100)), 1, 2)[3] is True
    assert split(backend.magnitudes(flat, dtype, PackedMask(100, kept)), 1, 2)[3] is False


@each_level
@each_size
def test_splits_of_random_scores_are_equal(level: str, entries: int) -> None:
    backend = CompiledBackend(level)
    for mask in masks(entries):
        for low, high in [(0, 2**64 - 1), (2**62, 2**63 + 2**61), (2**63, 2**63), (2**64 - 1, 2**64 - 1)]:
            expected = split(NUMPY.random(12345, mask), low, high)
            assert split(backend.random(12345, mask), low, high) == expected


@each_level
@each_size
@pytest.mark.parametrize("dtype", [*FLOATS, "I8", "I16", "I32", "I64", "C64"])
@pytest.mark.parametrize("in_place", [False, True], ids=["", "in place"])
def test_masks_are_applied_alike(level: str, entries: int, dtype: str, in_place: bool) -> None:
    memory = np.random.default_rng(2).integers(0, 256, entries * CARRIERS[dtype].itemsize, dtype=np.uint8)
    for mask in masks(entries):
        results = []
        for backend in (NUMPY, CompiledBackend(level)):
            flat = Buffer(dtype, (entries,), memory.copy().view(CARRIERS[dtype]))
            out = flat if in_place else backend.empty(dtype, entries)
            backend.apply(flat, mask, out)
            results.append(out.array.tobytes())
        assert results[0] == results[1]


@each_level
@each_size
@pytest.mark.parametrize("dtype", sorted(CARRIERS))
def test_zeros_are_counted_alike(level: str, entries: int, dtype: str) -> None:
    generator = np.random.default_rng(4)
    memory = generator.integers(0, 256, entries * CARRIERS[dtype].itemsize, np.uint8)
    memory *= generator.random(len(memory)) < 0.2
    flat = Buffer(dtype, (entries,), memory.view(CARRIERS[dtype]))
    for mask in masks(entries):
        assert CompiledBackend(level, 64).count_nonzero(flat, mask) == NUMPY.count_nonzero(flat, mask)


@each_level
@each_size
@each_dtype
def test_one_value_is_written_where_the_mask_is_1(level: str, entries: int, dtype: str) -> None:
    carrier = CARRIERS[dtype]
    one = Buffer(
        dtype, (entries,), np.broadcast_to(np.ones(1, np.uint8).repeat(carrier.itemsize).view(carrier), entries)
    )
    results = []
    for backend in (NUMPY, CompiledBackend(level, 64)):
        out = backend.empty(dtype, entries)
        backend.apply(one, prior(entries), out)
        results.append(out.array.tobytes())
    assert results[0] == results[1]


@each_level
def test_views_with_gaps_are_computed_too(level: str) -> None:
    backend = CompiledBackend(level, 64)
    whole = weights("F32", 2000).array.copy()
    gaps = Buffer("F32", (1000,), whole[::2])
    mask = prior(1000)
    out = Buffer("F32", (1000,), whole[::2].copy())
    backend.apply(gaps, mask, gaps)
    NUMPY.apply(out, mask, out)
    assert gaps.array.tobytes() == out.array.tobytes()
    expected = split(NUMPY.magnitudes(gaps, "F32", mask), 1, 1 << 30)
    assert split(backend.magnitudes(gaps, "F32", mask), 1, 1 << 30) == expected


@each_level
@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
@pytest.mark.parametrize("norm", [1.0, 2.0])
@pytest.mark.parametrize("shape", [(5, 7), (70, 3, 33), (1, 100), (128, 64)], ids=str)
def test_norms_differ_by_rounding_only(level: str, dtype: str, norm: float, shape: tuple[int, ...]) -> None:
    entries = int(np.prod(shape))
    flat = weights("F32", entries) if dtype == "F32" else Buffer(dtype, (entries,), weights("BF16", entries).array)
    if dtype == "F64":
        flat = Buffer(dtype, (entries,), np.random.default_rng(0).standard_normal(entries))
    for dim in range(len(shape)):
        layout: ChannelLayout = channel_layout(shape, dim)
        mask = PackedMask.full(entries)
        expected = NUMPY.norms(flat, mask, layout, norm)
        np.testing.assert_allclose(CompiledBackend(level, 64).norms(flat, mask, layout, norm), expected, rtol=1e-13)


def grouped(candidates: Any, size: int) -> list[tuple[Any, ...]]:
    """Return the mask of half of each group, and what was reported, comparable: of rows, and of columns."""
    rows = candidates.entries // size
    return [half_of(candidates, group_layout(*sizes)) for sizes in ((1, 1, rows, size), (1, size, rows, 1))]


def half_of(candidates: Any, layout: GroupLayout) -> tuple[Any, ...]:
    groups = candidates.in_groups(layout)
    kept = groups.blank()
    cuts = [groups.prune(piece, lambda number, _: number // 2, kept) for piece in groups.pieces()]
    largest = max((cut.largest_pruned for cut in cuts if cut.largest_pruned is not None), default=None)
    return groups.packed(kept).bits.tolist(), largest, any(cut.has_nan for cut in cuts)


@each_level
@each_dtype
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 16, 31, 32, 33, 64, 100, 128, 1000])
def test_groups_are_pruned_alike(level: str, dtype: str, size: int) -> None:
    flat, compiled = weights(dtype, 150 * size), CompiledBackend(level, 1 << 12)
    for mask in masks(150 * size):
        found, expected = (grouped(each.magnitudes(flat, dtype, mask), size) for each in (compiled, NUMPY))
        assert found == expected


def candidates_of_other_keys(backend: NumpyBackend, kind: str, mask: PackedMask) -> Any:
    """Return candidates whose keys are not the bits of their entries."""
    if kind == "integers":
        values = np.random.default_rng(3).integers(-(2**15), 2**15, 3000).astype(np.int16)
        return backend.magnitudes(Buffer("I16", (3000,), values), "I16", mask)
    if kind == "converted":
        return backend.magnitudes(weights("BF16", 3000), "F32", mask)
    if kind == "random":
        return backend.random(99, mask)
    factors = np.arange(60.0)
    return backend.products(weights("F16", 3000), factors, channel_layout((50, 60), 1), "F32", mask)


@each_level
@pytest.mark.parametrize("kind", ["integers", "converted", "random", "products"])
def test_other_keys_are_split_and_grouped_alike(level: str, kind: str) -> None:
    compiled = CompiledBackend(level)
    for mask in masks(3000):
        expected, candidates = (candidates_of_other_keys(backend, kind, mask) for backend in (NUMPY, compiled))
        low, high = expected.highest // 5, expected.highest // 2
        assert split(candidates, low, high) == split(expected, low, high)
        for size in (4, 60, 300):
            assert grouped(candidates, size) == grouped(expected, size)


def test_kernels_can_be_chosen() -> None:
    for name in available_kernels():
        set_kernels(name)
        assert get_kernels() == name
    set_kernels("auto")
    assert get_kernels() == available_kernels()[-1]
    with pytest.raises(ValueError, match="kernels must be auto, numpy, plain"):
        set_kernels("mmx")
    assert PATH.exists()


@each_level
@pytest.mark.parametrize("count", range(5))
@pytest.mark.parametrize("groups", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("dtype", ["F32", "I32"])
def test_fours_lose_any_number_alike(level: str, count: int, groups: int, dtype: str) -> None:
    numbers = np.random.default_rng(groups).integers(-3, 4, 4 * groups)
    flat = Buffer(dtype, (4 * groups,), numbers.astype(np.float32 if dtype == "F32" else np.int32))
    found = []
    for backend in (NUMPY, CompiledBackend(level, 64)):
        candidates = backend.magnitudes(flat, dtype, PackedMask.full(4 * groups)).in_groups(
            group_layout(1, 1, groups, 4)
        )
        kept = candidates.blank()
        cuts = [candidates.prune(piece, lambda *_: count, kept) for piece in candidates.pieces()]
        largest = max((cut.largest_pruned for cut in cuts if cut.largest_pruned is not None), default=None)
        bits: Any = candidates.packed(kept).bits
        found.append((bits.tolist(), largest))
    assert found[0] == found[1]
