"""The least entries of contiguous groups, in C: `backend.GroupedCandidates`. Other groups are left to numpy."""

import ctypes
from collections.abc import Callable
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import GroupCut, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.compiled.library import Kernels, address
from pruning_engine.kernels.compiled.splits import keys_between, largest_number_of
from pruning_engine.kernels.cpu.arrays import unpacked
from pruning_engine.kernels.cpu.groups import NumpyGroups, Packed
from pruning_engine.kernels.cpu.keys import Keys
from pruning_engine.kernels.packed_mask import packed_slice
from pruning_engine.runtime.scratch_buffers import buffer

_SHORT: Final = 32
"""Entries of a group up to which all pairs are compared; of longer ones the cut is selected."""


class CompiledGroups(NumpyGroups):
    """The candidates of one tensor, in groups."""

    def __init__(self, kernels: Kernels, keys: Keys, mask: Packed | None, layout: ChannelLayout, step: int) -> None:
        super().__init__(keys, mask, layout, step)
        self._kernels = kernels

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: Packed) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece."""
        if not self._is_contiguous:
            return super().prune(piece, to_prune, kept)
        size = self._layout.channel_entries
        prune = self._prune_short if size <= _SHORT else self._prune_long
        bits = packed_slice(piece[0] * size, piece[1] * size)
        return prune(piece, to_prune, None if self._mask is None else self._mask[bits], kept[bits])

    def _prune_short(
        self, piece: tuple[int, int], to_prune: Callable[[int, int], int], mask: Packed | None, kept: Packed
    ) -> GroupCut:
        groups, size = piece[1] - piece[0], self._layout.channel_entries
        entries, magnitude = keys_between(self._keys, piece[0] * size, piece[1] * size)
        counts = np.zeros(size + 1, np.uint8)  # by the number of unpruned entries
        for number in [size] if mask is None else np.unique(_unpruned(mask, groups, size)):
            counts[number] = to_prune(int(number), size)
        largest = ctypes.c_uint64()
        has_nan = self._kernels.function(f"groups_{entries.itemsize * 8}")(
            *(address(entries), groups, size, magnitude, largest_number_of(self._keys), address(counts)),
            *(address(mask), address(kept), ctypes.addressof(largest)),
        )
        return _cut(largest, has_nan=has_nan, prunes_any=bool(counts.any()))

    def _prune_long(
        self, piece: tuple[int, int], to_prune: Callable[[int, int], int], mask: Packed | None, kept: Packed
    ) -> GroupCut:
        groups, size = piece[1] - piece[0], self._layout.channel_entries
        entries, magnitude = keys_between(self._keys, piece[0] * size, piece[1] * size)
        if mask is None:
            counts = np.full(groups, to_prune(size, size))
        else:
            numbers, which = np.unique(_unpruned(mask, groups, size), return_inverse=True)
            counts = np.array([to_prune(int(number), size) for number in numbers], np.int64)[which]
        scratch, largest = buffer("row", entries.dtype, size), ctypes.c_uint64()
        has_nan = self._kernels.function(f"rows_{entries.itemsize * 8}")(
            *(address(entries), groups, size, magnitude, largest_number_of(self._keys)),
            *(self._keys.highest.bit_length(), address(counts), address(mask), address(kept)),
            *(address(scratch), ctypes.addressof(largest)),
        )
        return _cut(largest, has_nan=has_nan, prunes_any=bool(counts.any()))


def _unpruned(mask: Packed, groups: int, size: int) -> Integers:
    """Return how many entries of each group are unpruned."""
    numbers: Integers = np.count_nonzero(unpacked(mask, groups * size).reshape(groups, size), axis=1)
    return numbers


def _cut(largest: ctypes.c_uint64, *, has_nan: int, prunes_any: bool) -> GroupCut:
    if has_nan:
        return GroupCut(None, has_nan=True)
    return GroupCut(largest.value if prunes_any else None, has_nan=False)
