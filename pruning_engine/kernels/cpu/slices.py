"""Some positions of a tensor's dim, taken in pieces: what remains when coupled channels are removed.

In place, what remains moves to the front of the tensor's own memory: then no memory is needed for a second model.
"""

from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.backend import Integers
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.cpu.arrays import raw_integers
from pruning_engine.runtime.threads import PIECE_ENTRIES, in_parallel
from pruning_engine.runtime.yield_points import with_yields

_Piece: TypeAlias = tuple[slice, slice, slice]


def taken(tensor: Buffer, dim: int, positions: Integers) -> Buffer:
    """Return some positions along a dim, pieces side by side."""
    shape = _shape(tensor, dim, positions)
    result = Buffer(tensor.dtype, shape, np.empty(shape, tensor.array.dtype))
    layout = channel_layout(tensor.shape, dim)
    take = partial(
        _take, _seen(raw_integers(tensor), layout), _seen(raw_integers(result), layout, len(positions)), positions
    )
    in_parallel(take, list(_pieces(layout, len(positions))))
    return result


def moved_(tensor: Buffer, dim: int, positions: Integers) -> Buffer:
    """Move some positions along a dim, ascending, to the front of a contiguous buffer's memory; return that.

    Pieces go one after the other: none is written before what is there has been read.
    """
    shape = _shape(tensor, dim, positions)
    flat = tensor.array.reshape(-1)
    front = Buffer(tensor.dtype, shape, flat[: int(np.prod(shape, dtype=object))].reshape(shape))
    layout = channel_layout(tensor.shape, dim)
    source, target = _seen(raw_integers(tensor), layout), _seen(raw_integers(front), layout, len(positions))
    for rows, columns, inner in with_yields(_pieces(layout, len(positions))):
        part = source[rows, :, inner]
        spare = np.empty(part.shape[0] * len(positions[columns]) * part.shape[2], source.dtype)
        spare = spare.reshape(part.shape[0], len(positions[columns]), part.shape[2])
        np.take(part, positions[columns], axis=1, out=spare, mode="clip")
        target[rows, columns, inner] = spare
    return front


def _shape(tensor: Buffer, dim: int, positions: Integers) -> tuple[int, ...]:
    return (*tensor.shape[:dim], len(positions), *tensor.shape[dim + 1 :])


def _seen(entries: Integers, layout: ChannelLayout, channels: int | None = None) -> Integers:
    """Return entries as [outer, channels, inner]."""
    return entries.reshape(layout.outer, layout.channels if channels is None else channels, layout.inner)


def _pieces(layout: ChannelLayout, positions: int) -> Iterator[_Piece]:
    """Cut what remains into pieces, in the order of its entries: some rows, or columns of one, or a part of one."""
    row = positions * layout.inner
    rows = max(1, PIECE_ENTRIES // max(1, row))
    columns = positions if row <= PIECE_ENTRIES else max(1, PIECE_ENTRIES // layout.inner)
    for first in range(0, layout.outer, rows):
        for column in range(0, positions, columns):
            for inner in range(0, layout.inner, PIECE_ENTRIES):
                yield slice(first, first + rows), slice(column, column + columns), slice(inner, inner + PIECE_ENTRIES)


def _take(source: Integers, target: Integers, positions: Integers, piece: _Piece) -> None:
    rows, columns, inner = piece
    out = target[rows, columns, inner]
    if out.flags.c_contiguous:  # mode="clip": with the default, numpy takes into a copy and copies that
        np.take(source[rows, :, inner], positions[columns], axis=1, out=out, mode="clip")
    else:
        out[...] = source[rows, :, inner].take(positions[columns], axis=1, mode="clip")
