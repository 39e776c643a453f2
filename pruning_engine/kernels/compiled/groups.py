"""The least entries of each group, in C: `backend.GroupedCandidates`."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import GroupCut, Integers
from pruning_engine.kernels.compiled.library import Kernels, address
from pruning_engine.kernels.compiled.splits import keys_between, largest_number_of
from pruning_engine.kernels.cpu.arrays import unpacked
from pruning_engine.kernels.cpu.groups import NumpyGroups, Packed
from pruning_engine.kernels.cpu.keys import Keys
from pruning_engine.kernels.cpu.strided_groups import keys_of_groups, mark_groups, unpruned_of_groups
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import full_bits

_SHORT: Final = 32
"""Entries of a group up to which all pairs are compared; of longer ones the cut is selected."""


class CompiledGroups(NumpyGroups):
    """The candidates of one tensor, in groups."""

    def __init__(self, kernels: Kernels, keys: Keys, mask: Packed | None, layout: GroupLayout, step: int) -> None:
        super().__init__(keys, mask, layout, step)
        self._kernels = kernels

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: Packed) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece."""
        if self._is_contiguous:
            size, bits = self._layout.group_entries, self._bits_of(piece)
            entries, magnitude = keys_between(self._keys, piece[0] * size, piece[1] * size)
            mask = None if self._mask is None else self._mask[bits]
            return self._prune(_Rows(entries, magnitude, mask, kept[bits]), to_prune)
        entries = keys_of_groups(self._keys, self._layout, piece)
        mask = (
            None
            if self._mask is None
            else np.packbits(unpruned_of_groups(self._mask, self._layout, piece), bitorder="little")
        )
        rows = _Rows(entries.reshape(-1), int(np.iinfo(entries.dtype).max), mask, full_bits(entries.size))
        cut = self._prune(rows, to_prune)
        mark_groups(kept, self._layout, piece, unpacked(rows.kept, entries.size))
        return cut

    def _prune(self, rows: "_Rows", to_prune: Callable[[int, int], int]) -> GroupCut:
        return (self._prune_short if self._layout.group_entries <= _SHORT else self._prune_long)(rows, to_prune)

    def _prune_short(self, rows: "_Rows", to_prune: Callable[[int, int], int]) -> GroupCut:
        size = self._layout.group_entries
        groups = len(rows.entries) // size
        counts = np.zeros(size + 1, np.uint8)  # by the number of unpruned entries
        for number in [size] if rows.mask is None else np.unique(_unpruned(rows.mask, groups, size)):
            counts[number] = to_prune(int(number), size)
        largest = ctypes.c_uint64()
        has_nan = self._kernels.function(f"groups_{rows.entries.itemsize * 8}")(
            *(address(rows.entries), groups, size, rows.magnitude, largest_number_of(self._keys), address(counts)),
            *(address(rows.mask), address(rows.kept), ctypes.addressof(largest)),
        )
        return _cut(largest, has_nan=has_nan, prunes_any=bool(counts.any()))

    def _prune_long(self, rows: "_Rows", to_prune: Callable[[int, int], int]) -> GroupCut:
        size = self._layout.group_entries
        groups = len(rows.entries) // size
        if rows.mask is None:
            counts = np.full(groups, to_prune(size, size))
        else:
            numbers, which = np.unique(_unpruned(rows.mask, groups, size), return_inverse=True)
            counts = np.array([to_prune(int(number), size) for number in numbers], np.int64)[which]
        scratch, largest = np.empty(size, rows.entries.dtype), ctypes.c_uint64()
        has_nan = self._kernels.function(f"rows_{rows.entries.itemsize * 8}")(
            *(address(rows.entries), groups, size, rows.magnitude, largest_number_of(self._keys)),
            *(address(counts), address(rows.mask), address(rows.kept), address(scratch), ctypes.addressof(largest)),
        )
        return _cut(largest, has_nan=has_nan, prunes_any=bool(counts.any()))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Contiguous groups of a piece: entries, which of their bits are the key, the prior mask and the mask to fill."""

    entries: Integers
    magnitude: int
    mask: Packed | None
    kept: Packed


def _unpruned(mask: Packed, groups: int, size: int) -> Integers:
    """Return how many entries of each group are unpruned."""
    numbers: Integers = np.count_nonzero(unpacked(mask, groups * size).reshape(groups, size), axis=1)
    return numbers


def _cut(largest: ctypes.c_uint64, *, has_nan: int, prunes_any: bool) -> GroupCut:
    if has_nan:
        return GroupCut(None, has_nan=True)
    return GroupCut(largest.value if prunes_any else None, has_nan=False)
