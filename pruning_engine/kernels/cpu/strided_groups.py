"""Groups of entries that are not contiguous: read into a row per group, and marked in one byte per entry.

A piece is whole batches, or some channels of one batch: a box of the tensor seen as [batches, outer, channels, inner].
Its entries are read in runs as long as they are in memory, and transposed.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.backend import BoolArray, Integers
from pruning_engine.kernels.cpu.arrays import unpacked_from
from pruning_engine.kernels.cpu.keys import Keys
from pruning_engine.kernels.group_layout import GroupLayout

_Packed: TypeAlias = npt.NDArray[np.uint8]
_Piece: TypeAlias = tuple[int, int]


def keys_of_groups(keys: Keys, layout: GroupLayout, piece: _Piece) -> Integers:
    """Return the keys of the groups of a piece, a row each."""
    parts = [keys.read(*run) for run in _runs(layout, piece)]
    return _transposed(parts[0] if len(parts) == 1 else np.stack(parts), layout, piece)


def unpruned_of_groups(mask: _Packed, layout: GroupLayout, piece: _Piece) -> BoolArray:
    """Return which entries of the groups of a piece are unpruned, a row each."""
    parts = [unpacked_from(mask, *run) for run in _runs(layout, piece)]
    return _transposed(parts[0] if len(parts) == 1 else np.stack(parts), layout, piece)


def mark_groups(kept: _Packed, layout: GroupLayout, piece: _Piece, stays: BoolArray) -> None:
    """Write which entries of the groups of a piece are kept into one byte per entry of the tensor."""
    batches, outer, channels, inner = _box(layout, piece)
    first_batch, first_channel = divmod(piece[0], layout.channels)
    tensor = kept.reshape(layout.shape)
    box = tensor[first_batch : first_batch + batches, :, first_channel : first_channel + channels]
    np.copyto(box, stays.reshape(batches, channels, outer, inner).swapaxes(1, 2))


def _box(layout: GroupLayout, piece: _Piece) -> tuple[int, int, int, int]:
    """Return a piece as batches, outer, channels, inner."""
    groups = piece[1] - piece[0]
    if groups % layout.channels == 0:
        return groups // layout.channels, layout.outer, layout.channels, layout.inner
    return 1, layout.outer, groups, layout.inner


def _runs(layout: GroupLayout, piece: _Piece) -> Iterator[_Piece]:
    """Return the runs of flat entries that a piece is made of: one for whole batches."""
    batches, outer, channels, inner = _box(layout, piece)
    first_batch, first_channel = divmod(piece[0], layout.channels)
    begin = first_batch * layout.batch_entries
    if channels == layout.channels:
        yield begin, begin + batches * layout.batch_entries
        return
    for row in range(outer):
        at = begin + row * layout.row_entries + first_channel * inner
        yield at, at + channels * inner


def _transposed(stored: npt.NDArray[Any], layout: GroupLayout, piece: _Piece) -> npt.NDArray[Any]:
    """Return entries in the order of the tensor as a row per group."""
    batches, outer, channels, inner = _box(layout, piece)
    by_channel = stored.reshape(batches, outer, channels, inner).swapaxes(1, 2)
    return by_channel.reshape(batches * channels, outer * inner)
