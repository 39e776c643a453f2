"""Entries that can be pruned, on the CPU: keys of a piece, and one pass over them.

A pass reads a piece once and works in the cache after that: keys, compare, pack; subtract, compare, collect. Pruned
entries cost nothing: the packed mask is combined with the packed comparison, eight entries at a time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import packed_bytes
from pruning_engine.kernels.backend import RUN_ENTRIES, GroupedCandidates, Integers, Least, Split
from pruning_engine.kernels.cpu.arrays import (
    bits_at,
    count_ones,
    nth_least,
    pieces,
    take_runs,
    unpacked,
    unpacked_from,
)
from pruning_engine.kernels.cpu.groups import NumpyGroups
from pruning_engine.kernels.cpu.keys import Keys, RandomKeys, sampled_runs
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice

_Packed = npt.NDArray[np.uint8]


class NumpyCandidates:
    """The unpruned entries of one tensor: `backend.Candidates` in numpy."""

    def __init__(self, keys: Keys, mask: PackedMask, unpruned: int, step: int) -> None:
        self.entries = mask.entries
        self.highest = keys.highest
        self.is_uniform = isinstance(keys, RandomKeys)
        self._keys = keys
        self._mask: _Packed | None = mask.bits
        self.unpruned = unpruned
        self._largest_number = keys.largest_number
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends."""
        return pieces(self.entries, self._step)

    def blank(self) -> PackedMask:
        """Return a mask to be filled."""
        return PackedMask(self.entries, np.empty(packed_bytes(self.entries), np.uint8))

    def sample(self, stride: int, seed: int) -> Integers:
        """Return the keys of the candidates in runs drawn at random, one of `stride`."""
        runs = sampled_runs(self.entries, stride, seed)
        keys = self._keys.runs(runs)
        if self._mask is None:
            return keys
        packed = take_runs(self._mask, runs, RUN_ENTRIES // 8)
        return keys[unpacked(packed, len(keys))]

    def everything(self) -> Integers:
        """Return the keys of all candidates."""
        keys = self._keys.read(0, self.entries)
        return keys if self._mask is None else keys[unpacked(self._mask, self.entries)]

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys of entries from `begin` to `end` in a scratch buffer, 0 where pruned."""
        keys = self._keys.read(begin, end)
        if self._mask is not None:
            keys[~unpacked_from(self._mask, begin, end)] = 0
        return keys

    def least(self, count: int, stride: int) -> Least | None:  # noqa: ARG002 - one signature for all
        """Leave it to several steps."""
        return None

    def split(self, piece: tuple[int, int], low: int, high: int, kept: PackedMask) -> Split:
        """Write the piece's bits and look into the bracket."""
        begin, end = piece
        keys = self._keys.read(begin, end)
        mask = self._mask_of(piece)
        packed = self._pack(np.greater_equal(keys, keys.dtype.type(low)), mask)
        bits_of(kept)[packed_slice(begin, end)] = packed
        has_nan = self._has_nan(keys, mask)
        if low == high:
            flags = np.equal(keys, keys.dtype.type(low))
            inside = int(np.count_nonzero(flags)) if mask is None else count_ones(self._pack(flags, mask))
            return Split(count_ones(packed), inside, None, None, has_nan)
        np.subtract(keys, keys.dtype.type(low), out=keys)  # keys below wrap around to above the bracket
        positions = np.flatnonzero(np.less_equal(keys, keys.dtype.type(high - low)))
        if mask is not None:
            positions = positions[bits_at(mask, positions)]
        found = keys[positions] + keys.dtype.type(low)
        return Split(count_ones(packed), len(positions), positions.astype(np.uint32), found, has_nan)

    def largest(self, piece: tuple[int, int]) -> int:
        """Return the largest key of the piece's candidates; 0 if it has none."""
        keys = self._keys.read(*piece)
        mask = self._mask_of(piece)
        if mask is not None:
            keys = keys[unpacked(mask, len(keys))]
        return int(keys.max()) if len(keys) else 0

    def nth_least(self, keys: Integers, rank: int) -> tuple[int, int]:
        """Return the key of a rank among some, and how many equal ones are of smaller rank."""
        return nth_least(keys, rank)

    def drop(self, begin: int, split: Split, cut: int, quota: int, kept: PackedMask) -> int:
        """Clear the bits of what was collected below `cut`, and of the first `quota` entries at it."""
        packed, positions = bits_of(kept)[begin // 8 :], split.dropped(cut, quota)
        np.bitwise_and.at(packed, positions >> 3, ~(np.uint8(1) << (positions & 7).astype(np.uint8)))
        return split.dropped_at(cut, quota)

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: PackedMask) -> None:
        """Clear the bits of the first `count` candidates of a piece that have this key."""
        begin, end = piece
        keys = self._keys.read(begin, end)
        flags = np.equal(keys, keys.dtype.type(key))
        mask = self._mask_of(piece)
        if mask is not None:
            np.logical_and(flags, unpacked(mask, end - begin), out=flags)
        equal = np.flatnonzero(flags)
        if count < len(equal):
            flags[equal[count] :] = False
        bits_of(kept)[packed_slice(begin, end)] &= ~np.packbits(flags, bitorder="little")

    def is_nan(self, key: int) -> bool:
        """Whether entries of this key are NaN."""
        return self._largest_number is not None and key > self._largest_number

    def in_groups(self, layout: GroupLayout) -> GroupedCandidates:
        """Return the candidates in groups."""
        return NumpyGroups(self._keys, self._mask, layout, self._step)

    def _mask_of(self, piece: tuple[int, int]) -> _Packed | None:
        return None if self._mask is None else self._mask[packed_slice(*piece)]

    def _pack(self, flags: npt.NDArray[np.bool_], mask: _Packed | None) -> _Packed:
        packed = np.packbits(flags, bitorder="little")
        return packed if mask is None else np.bitwise_and(packed, mask, out=packed)

    def _has_nan(self, keys: Integers, mask: _Packed | None) -> bool:
        if self._largest_number is None or int(keys.max()) <= self._largest_number:
            return False
        nan = keys > keys.dtype.type(self._largest_number)
        return bool(self._pack(nan, mask).any())


def bits_of(kept: PackedMask) -> _Packed:
    """Return the bits of a mask that is being filled."""
    bits: _Packed | None = kept.bits
    if bits is None:
        raise RuntimeError("a mask to be filled needs its bits; `blank` makes one")
    return bits
