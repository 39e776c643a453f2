"""Blocks of entries that compete: their importances are ranked as entries of a tensor of their own."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.rankings.entry_ranking import EntryRanking
from pruning_engine.kernels.backend import Candidates, Floats
from pruning_engine.kernels.block_layout import BlockLayout
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.magnitude_keys import magnitudes_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.runtime.threads import PIECE_ENTRIES, in_parallel
from pruning_engine.scores.parameters import ArrivedParameter

_Array: TypeAlias = npt.NDArray[Any]

_DOMAIN = "F64"


class BlockRanking(EntryRanking):
    """Prunes the blocks of least importance. Blocks are numbered in C order of output and input channels."""

    def __init__(self, granularity: Granularity, context: RankingContext, layouts: Mapping[str, BlockLayout]) -> None:
        super().__init__(granularity, context)
        self._layouts = layouts
        self._host = NumpyBackend()
        self._domain = _DOMAIN

    def _candidates(self, parameter: ArrivedParameter) -> Candidates:
        """Return the blocks that have unpruned entries, in the order of their importance."""
        layout, score = self._layouts[parameter.planned.name], self._context.score
        unpruned = self._unpruned(parameter.mask, layout)
        if score.is_random:
            return self._host.random(
                key_of(self._context.seed, self._context.position, parameter.planned.name), unpruned
            )
        candidates = score.candidates(parameter, self._scoring)
        importances = block_importances(candidates, layout, self._scoring.domain)
        flat = _in_order(importances, layout).reshape(-1)
        return self._host.magnitudes(Buffer(_DOMAIN, (len(flat),), flat), _DOMAIN, unpruned)

    def _entries(self, kept: PackedMask, parameter: ArrivedParameter) -> PackedMask:
        """Return the unpruned entries of the blocks that are kept."""
        layout, backend = self._layouts[parameter.planned.name], self._context.backend
        marks = self._host.unpack(kept).array.view(np.bool_)
        shape = layout.matrices, layout.stored_rows // layout.height, layout.blocks_of_strip
        if layout.is_transposed:
            marks = marks.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2)
        blocks = np.ascontiguousarray(marks).reshape(layout.strips, 1, layout.blocks_of_strip, 1)
        flags = np.empty((layout.strips, layout.height, layout.blocks_of_strip, layout.width), np.uint8)
        flags[:] = blocks
        mask = backend.pack(backend.load(Buffer("BOOL", (layout.entries,), flags.reshape(-1))))
        return mask.restrict_(parameter.mask)

    def _unpruned(self, mask: PackedMask, layout: BlockLayout) -> PackedMask:
        """Return which blocks have unpruned entries."""
        if mask.is_full:
            return PackedMask.full(layout.blocks)
        flags = self._context.backend.unpack(mask).host().array.view(np.bool_)
        blocks = flags.reshape(layout.strips, layout.height, layout.blocks_of_strip, layout.width).any(axis=(1, 3))
        flat = np.ascontiguousarray(_in_order(blocks, layout)).reshape(-1).view(np.uint8)
        return self._host.pack(Buffer("BOOL", (len(flat),), flat))


def block_importances(candidates: Candidates, layout: BlockLayout, domain: str) -> Floats:
    """Return the sum of the importances of each block's candidates, in fp64: an array (strips, blocks of a strip).

    A block is summed row by row, in the order of its entries, so that the sums are the same for any number of threads.
    NaN among the candidates makes the sum NaN.
    """
    sums = np.empty((layout.strips, layout.blocks_of_strip))
    step = max(1, PIECE_ENTRIES // max(1, layout.strip_entries))

    def add(first: int) -> None:
        last = min(first + step, layout.strips)
        magnitudes = magnitudes_of(candidates.read(first * layout.strip_entries, last * layout.strip_entries), domain)
        rows = magnitudes.reshape(last - first, layout.height, layout.blocks_of_strip, layout.width).sum(axis=3)
        total = rows[:, 0].copy()
        for row in range(1, layout.height):
            total += rows[:, row]
        sums[first:last] = total

    in_parallel(add, range(0, layout.strips, step))
    return sums


def _in_order(blocks: _Array, layout: BlockLayout) -> _Array:
    """Return blocks (strips, blocks of a strip) in the order of output channels, then input channels."""
    if not layout.is_transposed:
        return blocks
    stored = blocks.reshape(layout.matrices, layout.stored_rows // layout.height, layout.blocks_of_strip)
    return np.ascontiguousarray(stored.swapaxes(1, 2))
