"""Entries that can be pruned, with the pass over their keys in C: `backend.Candidates`."""

import ctypes
import os
import threading
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.backend import GroupedCandidates, Least, Split
from pruning_engine.kernels.compiled.groups import CompiledGroups
from pruning_engine.kernels.compiled.library import Kernels, LeastFound, address
from pruning_engine.kernels.compiled.splits import PieceSplit, largest_number_of
from pruning_engine.kernels.cpu.candidates import NumpyCandidates, bits_of
from pruning_engine.kernels.cpu.keys import FloatKeys, Keys
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice

_LARGEST: Final = 1 << 22
"""Entries of the largest tensor that is done in one step: a few milliseconds, during which nobody else has a turn."""

_SLACK: Final = 16
"""A sample is whole runs, which may be a little more than the entries."""


class _Scratch(threading.local):
    """Memory that a thread uses again for each tensor: most of it is never touched, and the rest only once."""

    memory: npt.NDArray[np.uint64] = np.empty(0, np.uint64)

    def arrays(self, entries: int, *dtypes: np.dtype[Any]) -> list[npt.NDArray[Any]]:
        """Return arrays of `entries` each; they are overwritten by the next caller of this thread."""
        words = -(-entries // 8) * 8  # whole words of each dtype
        size = sum(words * dtype.itemsize for dtype in dtypes) // 8
        if len(self.memory) < size:
            self.memory = np.empty(size, np.uint64)
        ends = list(accumulate(words * dtype.itemsize // 8 for dtype in dtypes))
        return [self.memory[begin:end].view(dtype) for begin, end, dtype in zip([0, *ends], ends, dtypes, strict=False)]


_scratch = _Scratch()


class CompiledCandidates(NumpyCandidates):
    """The unpruned entries of one tensor: what is done once per piece is compiled, the rest is numpy's."""

    def __init__(self, keys: Keys, split: PieceSplit, kernels: Kernels, mask: PackedMask, step: int) -> None:
        super().__init__(keys, mask, step)
        self._split_piece = split
        self._kernels = kernels

    def least(self, count: int, stride: int) -> Least | None:
        """Prune the `count` least in one step, where entries are the keys themselves and the sample did not mislead."""
        keys = self._keys
        if self.entries > _LARGEST or not isinstance(keys, FloatKeys) or not keys.bits.flags.c_contiguous:
            return None
        kept, found = self.blank(), LeastFound()
        scratch = _scratch.arrays(self.entries + _SLACK, np.dtype(np.uint32), keys.bits.dtype, keys.bits.dtype)
        self._kernels.function(f"least_{keys.bits.itemsize * 8}")(
            *(address(keys.bits), self.entries, int(keys.magnitude), largest_number_of(keys)),
            *(int(keys.magnitude).bit_length(), address(self._mask), self.unpruned, count),
            *(int.from_bytes(os.urandom(8)), stride, *map(address, scratch), address(kept.bits)),
            ctypes.addressof(found),
        )
        return Least(kept, found.largest, bool(found.has_nan)) if found.is_settled or found.has_nan else None

    def split(self, piece: tuple[int, int], low: int, high: int, kept: PackedMask) -> Split:
        """Write the piece's bits and look into the bracket."""
        return self._split_piece(piece, low, high, self._mask_of(piece), bits_of(kept)[packed_slice(*piece)])

    def drop(self, begin: int, split: Split, cut: int, quota: int, kept: PackedMask) -> None:
        """Clear the bits of what was collected below `cut`, and of the first `quota` entries at it."""
        if split.keys is None or split.positions is None:
            return
        self._kernels.function(f"drop_{split.keys.itemsize * 8}")(
            *(address(split.keys), address(split.positions), len(split.keys), cut, quota),
            address(bits_of(kept)[begin // 8 :]),
        )

    def in_groups(self, layout: GroupLayout) -> GroupedCandidates:
        """Return the candidates in groups."""
        return CompiledGroups(self._kernels, self._keys, self._mask, layout, self._step)
