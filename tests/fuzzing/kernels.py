"""The compiled kernels, on any sizes, keys and masks: the bits of numpy's, and nothing beyond the arrays' ends.

With the libraries of `sanitized` the second is looked at by AddressSanitizer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.compiled.backend import CompiledBackend
from pruning_engine.kernels.compiled.library import NUMPY, available_kernels
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.group_layout import GroupLayout, group_layout
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number
from pruning_engine.kernels.packed_mask import PackedMask, full_bits, packed_slice
from pruning_engine.selection.entries import select
from tests.fuzzing.choices import Choices

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
OTHERS = ("I8", "I16", "I32", "I64", "C64", "F8_E8M0")
MOST_ENTRIES = 3000
PIECES = (64, 512, 1 << 20)

Case = tuple[NumpyBackend, CompiledBackend, Buffer, PackedMask]


def check(data: bytes) -> None:
    """Let both backends compute what the bytes describe. Raises: AssertionError if they differ."""
    choices = Choices(data)
    level = choices.one_of([name for name in available_kernels() if name != NUMPY])
    piece_entries = choices.one_of(PIECES)
    operation = choices.one_of([*OPERATIONS.values()])
    entries = choices.integer(1, choices.one_of((8, 64, 300, MOST_ENTRIES)))
    dtype = choices.one_of(FLOATS if operation in OF_FLOATS else FLOATS + OTHERS)
    mask = _mask(choices, entries)
    flat = _entries(choices, dtype, entries)
    with np.errstate(all="ignore"):
        operation((NumpyBackend(piece_entries), CompiledBackend(level, piece_entries), flat, mask), choices)


def _mask(choices: Choices, entries: int) -> PackedMask:
    kind = choices.integer(0, 3)
    if kind == 0:
        return PackedMask.full(entries)
    bits = np.random.default_rng(choices.integer(0, 255)).integers(0, 256, len(full_bits(entries)), dtype=np.uint8)
    return PackedMask(entries, (bits if kind == 1 else bits & np.uint8(0x11)) & full_bits(entries))


def _entries(choices: Choices, dtype: str, entries: int) -> Buffer:
    """Return entries at any address: random ones of all or of few values, with bytes of the fuzzer's among them."""
    carrier, kind, shift = CARRIERS[dtype], choices.integer(0, 3), choices.integer(0, 7)
    size = entries * carrier.itemsize
    memory = np.zeros(size + shift, np.uint8)[shift:]  # it ends where the memory ends
    generator = np.random.default_rng(choices.integer(0, 255))
    if kind < 2:
        memory[:] = generator.integers(0, 256, size, np.uint8)
    if kind == 1:
        memory &= np.uint8(0xF0)
    given = np.frombuffer(choices.rest()[-64:], np.uint8)[:size]
    memory[size - len(given) :] = given
    return Buffer(dtype, (entries,), memory.view(carrier))


def _split(case: Case, choices: Choices) -> None:
    reference, compiled, flat, mask = case
    low, high = sorted(choices.integer(0, highest_key(flat.dtype)) for _ in range(2))
    found = [_split_of(each.magnitudes(flat, flat.dtype, mask), low, high) for each in (reference, compiled)]
    assert found[0] == found[1]


def _split_random(case: Case, choices: Choices) -> None:
    reference, compiled, _, mask = case
    seed = choices.integer(0, 2**64 - 1)
    low, high = sorted(choices.integer(0, 2**64 - 1) for _ in range(2))
    assert _split_of(reference.random(seed, mask), low, high) == _split_of(compiled.random(seed, mask), low, high)


def _split_of(candidates: Candidates, low: int, high: int) -> list[object]:
    """Return what a pass over all entries wrote and found, and the mask after half of what it collected is dropped."""
    piece, kept = (0, candidates.entries), candidates.blank()
    found = candidates.split(piece, low, high, kept)
    collected = [None if part is None else part.tolist() for part in (found.positions, found.keys)]
    result = [_bits(kept)[packed_slice(*piece)].tolist(), found.kept, found.inside, found.has_nan, *collected]
    if found.keys is not None and len(found.keys):
        cut, equal_before = candidates.nth_least(found.keys.copy(), len(found.keys) // 2)
        candidates.drop(0, found, cut, equal_before, kept)
        result += [cut, equal_before, _bits(kept).tolist()]
    return result


def _least(case: Case, choices: Choices) -> None:
    reference, compiled, flat, mask = case
    expected = reference.magnitudes(flat, flat.dtype, mask)
    if not expected.unpruned:
        return
    count = choices.integer(1, expected.unpruned)
    found = compiled.magnitudes(flat, flat.dtype, mask).least(count, choices.integer(1, 40))
    if found is None or found.has_nan:
        return
    keys = flat.array.view(f"u{flat.array.itemsize}") & np.array(highest_key(flat.dtype), f"u{flat.array.itemsize}")
    if (keys > (largest_number(flat.dtype) or highest_key(flat.dtype))).any():
        return  # numpy's refuses NaN before it selects
    pruned = select([expected], count)
    assert pruned.kept[0].bits is not None
    assert _bits(found.kept).tolist() == pruned.kept[0].bits.tolist()


def _sample(case: Case, choices: Choices) -> None:
    stride, seed = choices.integer(2, 200), choices.integer(0, 2**64 - 1)
    reference, compiled, flat, mask = case
    found = [each.magnitudes(flat, flat.dtype, mask).sample(stride, seed).tolist() for each in (reference, compiled)]
    assert found[0] == found[1]


def _groups(case: Case, choices: Choices) -> None:
    reference, compiled, flat, mask = case
    sizes = [size for size in range(1, min(flat.entries, 200) + 1) if flat.entries % size == 0]
    size, part = choices.one_of(sizes), choices.integer(1, 4)
    rows = flat.entries // size
    layout = group_layout(*choices.one_of(((1, 1, rows, size), (1, size, rows, 1))))
    found = [_part_of(each.magnitudes(flat, flat.dtype, mask), layout, part) for each in (reference, compiled)]
    assert found[0][1:] == found[1][1:]
    assert found[0][2] or found[0] == found[1], "groups are pruned otherwise"


def _part_of(candidates: Candidates, layout: GroupLayout, part: int) -> tuple[Any, ...]:
    groups = candidates.in_groups(layout)
    kept = groups.blank()
    cuts = [groups.prune(piece, lambda number, _: number // part, kept) for piece in groups.pieces()]
    has_nan = any(cut.has_nan for cut in cuts)
    largest = max((cut.largest_pruned for cut in cuts if cut.largest_pruned is not None), default=None)
    return _bits(groups.packed(kept)).tolist(), None if has_nan else largest, has_nan


def _apply(case: Case, choices: Choices) -> None:
    reference, compiled, flat, mask = case
    found = []
    for backend in (reference, compiled):
        out = backend.empty(flat.dtype, flat.entries)
        backend.apply(flat, mask, out)
        found.append(out.array.tobytes())
    assert found[0] == found[1]


def _counts(case: Case, choices: Choices) -> None:
    reference, compiled, flat, mask = case
    assert compiled.count(mask) == reference.count(mask)
    assert compiled.count_nonzero(flat, mask) == reference.count_nonzero(flat, mask)


def _norms(case: Case, choices: Choices) -> None:
    reference, compiled, flat, _ = case
    rows = choices.one_of([size for size in range(1, 60) if flat.entries % size == 0])
    layout = channel_layout((rows, flat.entries // rows), choices.integer(0, 1))
    mask, norm = PackedMask.full(flat.entries), choices.one_of((1.0, 2.0))
    found = [each.norms(flat, mask, layout, norm) for each in (reference, compiled)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def _bits(mask: PackedMask) -> Any:
    return full_bits(mask.entries) if mask.bits is None else mask.bits


OPERATIONS: Mapping[str, Callable[[Case, Choices], None]] = {
    "split": _split,
    "split_random": _split_random,
    "least": _least,
    "sample": _sample,
    "groups": _groups,
    "apply": _apply,
    "counts": _counts,
    "norms": _norms,
}

OF_FLOATS = (_split, _split_random, _least, _sample, _groups, _norms)
