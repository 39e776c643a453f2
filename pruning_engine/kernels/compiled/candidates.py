"""Entries that can be pruned, with the pass over their keys in C: `backend.Candidates`."""

from pruning_engine.kernels.backend import GroupedCandidates, Split
from pruning_engine.kernels.compiled.groups import CompiledGroups
from pruning_engine.kernels.compiled.library import Kernels, address
from pruning_engine.kernels.compiled.splits import PieceSplit
from pruning_engine.kernels.cpu.candidates import NumpyCandidates, bits_of
from pruning_engine.kernels.cpu.keys import Keys
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice


class CompiledCandidates(NumpyCandidates):
    """The unpruned entries of one tensor: what is done once per piece is compiled, the rest is numpy's."""

    def __init__(self, keys: Keys, split: PieceSplit, kernels: Kernels, mask: PackedMask, step: int) -> None:
        super().__init__(keys, mask, step)
        self._split_piece = split
        self._kernels = kernels

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
