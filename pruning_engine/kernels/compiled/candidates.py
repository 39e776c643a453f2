"""Entries that can be pruned, with the pass over their keys in C: `backend.Candidates`."""

import ctypes
import os
from collections.abc import Sequence
from typing import Final, TypeGuard

import numpy as np

from pruning_engine.kernels.backend import RUN_ENTRIES, GroupedCandidates, Integers, Least, Split
from pruning_engine.kernels.compiled.groups import CompiledGroups
from pruning_engine.kernels.compiled.library import Kernels, LeastFound, address
from pruning_engine.kernels.compiled.scratch import scratch_arrays
from pruning_engine.kernels.compiled.splits import PieceSplit, largest_number_of
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.kernels.cpu.candidates import NumpyCandidates, bits_of
from pruning_engine.kernels.cpu.keys import FloatKeys, Keys
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice

_LARGEST: Final = 1 << 22
"""Entries of the largest tensor that is done in one step: a few milliseconds, during which nobody else has a turn."""

_LONGER: Final = 4
"""A piece that C reads is this many times as long as one that numpy reads: it takes less than a quarter of the time."""


class CompiledCandidates(NumpyCandidates):
    """The unpruned entries of one tensor: what is done once per piece is compiled, the rest is numpy's."""

    def __init__(  # noqa: PLR0913 - what numpy's takes, and where the loops are
        self, keys: Keys, mask: PackedMask, unpruned: int, step: int, *, split: PieceSplit, kernels: Kernels
    ) -> None:
        super().__init__(keys, mask, unpruned, step)
        self._split_piece = split
        self._kernels = kernels

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends: longer ones than numpy's, where C reads the entries."""
        return pieces(self.entries, self._step * (_LONGER if _are_entries(self._keys) else 1))

    def sample(self, stride: int, seed: int) -> Integers:
        """Return the keys of the candidates in runs drawn at random, one of `stride`."""
        keys = self._keys
        if not _are_entries(keys):
            return super().sample(stride, seed)
        found = np.empty(_most_sampled(self.entries, stride), keys.bits.dtype)
        size = self._kernels.function(f"sample_{keys.bits.itemsize * 8}")(
            *(address(keys.bits), self.entries, int(keys.magnitude), address(self._mask), seed, stride, address(found))
        )
        return found[:size]

    def nth_least(self, keys: Integers, rank: int) -> tuple[int, int]:
        """Return the key of a rank among some, and how many equal ones are of smaller rank."""
        equal_before = ctypes.c_int64()
        key = self._kernels.function(f"select_{keys.itemsize * 8}")(
            *(address(keys), len(keys), rank, int(keys.min()), int(keys.max()), ctypes.addressof(equal_before))
        )
        return key, equal_before.value

    def least(self, count: int, stride: int) -> Least | None:
        """Prune the `count` least in one step, where entries are the keys themselves and the sample did not mislead."""
        keys = self._keys
        if self.entries > _LARGEST or not _are_entries(keys):
            return None
        kept, found = self.blank(), LeastFound()
        room = 2 * _most_sampled(self.entries, stride)
        with scratch_arrays(room, np.dtype(np.uint32), keys.bits.dtype, keys.bits.dtype) as scratch:
            self._kernels.function(f"least_{keys.bits.itemsize * 8}")(
                *(address(keys.bits), self.entries, int(keys.magnitude), largest_number_of(keys), address(self._mask)),
                *(self.unpruned, count, int.from_bytes(os.urandom(8)), stride, *map(address, scratch), room),
                *(address(kept.bits), ctypes.addressof(found)),
            )
        return Least(kept, found.largest, bool(found.has_nan)) if found.is_settled or found.has_nan else None

    def split(self, piece: tuple[int, int], low: int, high: int, kept: PackedMask) -> Split:
        """Write the piece's bits and look into the bracket."""
        return self._split_piece(piece, low, high, self._mask_of(piece), bits_of(kept)[packed_slice(*piece)])

    def drop(self, begin: int, split: Split, cut: int, quota: int, kept: PackedMask) -> int:
        """Clear the bits of what was collected below `cut`, and of the first `quota` entries at it."""
        if split.keys is None or split.positions is None:
            return 0
        return self._kernels.function(f"drop_{split.keys.itemsize * 8}")(
            *(address(split.keys), address(split.positions), len(split.keys), cut, quota),
            address(bits_of(kept)[begin // 8 :]),
        )

    def in_groups(self, layout: GroupLayout) -> GroupedCandidates:
        """Return the candidates in groups."""
        return CompiledGroups(self._kernels, self._keys, self._mask, layout, self._step)


def _are_entries(keys: Keys) -> TypeGuard[FloatKeys]:
    """Whether keys are bits of contiguous entries, which C can read."""
    return isinstance(keys, FloatKeys) and keys.bits.flags.c_contiguous


def _most_sampled(entries: int, stride: int) -> int:
    """Return the most entries that a sample of one run in `stride` can have."""
    return -(-entries // (RUN_ENTRIES * stride)) * RUN_ENTRIES
