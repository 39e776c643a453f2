"""Taking units out of a tensor for good: what is left along its dims, in pieces.

In place, what is left moves to the front of the tensor's own memory: then no memory is needed for a second model.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import torch

from pruning_engine.kernels.backend import BoolArray, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.cpu.arrays import raw_integers
from pruning_engine.runtime.scratch_buffers import PIECE_ENTRIES, buffer
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.runtime.yield_points import with_yields

_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Kept: TypeAlias = Mapping[int, BoolArray]
"""For some dims of a tensor, which positions are kept."""

_Piece: TypeAlias = tuple[slice, slice, slice]


def kept_entries(shape: tuple[int, ...], kept: Kept) -> int:
    """Give how many entries are left."""
    sizes = [int(np.count_nonzero(kept[dim])) if dim in kept else size for dim, size in enumerate(shape)]
    return int(np.prod(sizes, dtype=object))


def without_fallen(tensor: torch.Tensor, kept: Kept, *, in_place: bool) -> torch.Tensor:
    """Give what is left, on the same device. `in_place`: the tensor may be overwritten, and the result be its front."""
    result = tensor
    for dim in sorted(kept, key=lambda dim: float(kept[dim].mean())):  # what loses most goes first
        positions = np.flatnonzero(kept[dim])
        if result.device.type != "cpu":
            result = selected(result, dim, positions)
        elif in_place and result.is_contiguous():
            result = moved_(result, dim, positions)
        else:
            result = taken(result, dim, positions)
    return result


def selected(tensor: torch.Tensor, dim: int, positions: Integers) -> torch.Tensor:
    """Give some positions along a dim in torch operations, as bits: not every operation knows every dtype."""
    bits = tensor.view(_INTEGERS[tensor.dtype.itemsize])
    return bits.index_select(dim, torch.from_numpy(positions).to(tensor.device)).view(tensor.dtype)


def taken(tensor: torch.Tensor, dim: int, positions: Integers) -> torch.Tensor:
    """Give some positions along a dim of a CPU tensor, pieces side by side."""
    result = torch.empty(_shape(tensor, dim, positions), dtype=tensor.dtype, device="cpu")
    layout = channel_layout(tuple(tensor.shape), dim)
    take = partial(_take, _seen(tensor.reshape(-1), layout), _seen(result.view(-1), layout, len(positions)), positions)
    in_parallel(take, list(_pieces(layout, len(positions))))
    return result


def moved_(tensor: torch.Tensor, dim: int, positions: Integers) -> torch.Tensor:
    """Move some positions along a dim, ascending, to the front of a contiguous CPU tensor's memory; give that.

    Pieces go one after the other: none is written before what lies there has been read.
    """
    shape = _shape(tensor, dim, positions)
    flat = tensor.detach().view(-1)
    front = flat[: int(np.prod(shape, dtype=object))]
    layout = channel_layout(tuple(tensor.shape), dim)
    source, target = _seen(flat, layout), _seen(front, layout, len(positions))
    for rows, columns, inner in with_yields(_pieces(layout, len(positions))):
        part = source[rows, :, inner]
        spare = buffer("moved", source.dtype, part.shape[0] * len(positions[columns]) * part.shape[2])
        spare = spare.reshape(part.shape[0], len(positions[columns]), part.shape[2])
        np.take(part, positions[columns], axis=1, out=spare, mode="clip")
        target[rows, columns, inner] = spare
    return front.view(shape)


def _shape(tensor: torch.Tensor, dim: int, positions: Integers) -> tuple[int, ...]:
    return (*tensor.shape[:dim], len(positions), *tensor.shape[dim + 1 :])


def _seen(flat: torch.Tensor, layout: ChannelLayout, channels: int | None = None) -> Integers:
    """See flat entries as [outer, channels, inner]."""
    wide = layout.channels if channels is None else channels
    return raw_integers(flat).reshape(layout.outer, wide, layout.inner)


def _pieces(layout: ChannelLayout, positions: int) -> Iterator[_Piece]:
    """Cut what is left into pieces, in the order of its entries: some rows, or columns of one, or a part of one."""
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
