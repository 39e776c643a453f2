"""The least entries of short contiguous groups, in C: `backend.GroupedCandidates`. Other groups are left to numpy."""

import ctypes
from collections.abc import Callable
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import GroupCut
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.compiled.library import Kernels, address
from pruning_engine.kernels.cpu.arrays import unpacked
from pruning_engine.kernels.cpu.groups import NumpyGroups, Packed
from pruning_engine.kernels.cpu.keys import FloatKeys, Keys
from pruning_engine.kernels.packed_mask import packed_slice
from pruning_engine.kernels.random_keys import MASK64

_LONGEST: Final = 32
"""Entries of the longest group that kernels.c ranks."""


class CompiledGroups(NumpyGroups):
    """The candidates of one tensor, in groups."""

    def __init__(self, kernels: Kernels, keys: Keys, mask: Packed | None, layout: ChannelLayout, step: int) -> None:
        super().__init__(keys, mask, layout, step)
        self._kernels = kernels

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: Packed) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece."""
        size = self._layout.channel_entries
        if not (self._is_contiguous and size <= _LONGEST and isinstance(self._keys, FloatKeys)):
            return super().prune(piece, to_prune, kept)
        keys = self._keys
        begin, end = piece[0] * size, piece[1] * size
        mask = None if self._mask is None else self._mask[packed_slice(begin, end)]
        counts = _counts(mask, piece[1] - piece[0], size, to_prune)
        largest = ctypes.c_uint64()
        has_nan = self._kernels.function(f"groups_{keys.bits.itemsize * 8}")(
            *(address(keys.bits[begin:end]), piece[1] - piece[0], size, int(keys.magnitude)),
            MASK64 if keys.largest_number is None else keys.largest_number,
            *(address(counts), address(mask), address(kept[packed_slice(begin, end)]), ctypes.addressof(largest)),
        )
        if has_nan:
            return GroupCut(None, has_nan=True)
        return GroupCut(largest.value if counts.any() else None, has_nan=False)


def _counts(mask: Packed | None, groups: int, size: int, to_prune: Callable[[int, int], int]) -> Packed:
    """Return how many entries to prune of a group, by the number of those that are unpruned; 0 for absent numbers."""
    counts = np.zeros(size + 1, np.uint8)
    if mask is None:
        counts[size] = to_prune(size, size)
        return counts
    unpruned = unpacked(mask, groups * size).reshape(groups, size)
    for number in np.unique(np.count_nonzero(unpruned, axis=1)):
        counts[number] = to_prune(int(number), size)
    return counts
