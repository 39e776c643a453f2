"""Norms of channels on the CPU: in fp64, block by block, so that no fp64 copy of the tensor is ever made."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Final

import numpy as np

from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import BoolArray, Floats, Integers
from pruning_engine.kernels.channel_layout import Block, ChannelLayout
from pruning_engine.kernels.cpu.arrays import NumberReader, Values, bits_at, raw_integers, unpacked
from pruning_engine.kernels.packed_mask import Bits, PackedMask, packed_slice
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.norm import NamedNorm, Norm, power_of
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.runtime.yield_points import with_yields

_FEW_BLOCKS: Final = 8
"""Blocks that are reduced side by side, however many channels they have."""

_COMBINE: Final[Mapping[float, np.ufunc]] = MappingProxyType({inf: np.maximum, -inf: np.minimum})
"""How the terms of a power are combined; those not named here are added."""


def channel_norms(flat: Values, mask: PackedMask, layout: ChannelLayout, norm: Norm, step: int) -> Floats:
    """Return what ranks each channel: see channel_norms.py."""
    if norm is NamedNorm.NUC:
        each = partial(_nuclear_norm, flat, mask, layout)
        return np.array(in_parallel(each, range(layout.channels)), np.float64)
    reduce = partial(_reduce_block, NumberReader(flat, np.float64), mask, power_of(norm))
    return combined(reduce, layout, norm, step)


def combined(reduce: Callable[[Block], Floats], layout: ChannelLayout, norm: Norm, step: int) -> Floats:
    """Return what ranks each channel, from what `reduce` makes of blocks: a number for each of their channels."""
    power = power_of(norm)
    blocks = layout.blocks(step)
    combine = _COMBINE.get(power, np.add)
    result = np.full(layout.channels, inf if power == -inf else 0.0)
    at_once = max(_FEW_BLOCKS, 4 * step // layout.channels)  # what they are reduced to has a number for each channel
    for begin in range(0, len(blocks), at_once):
        lot = blocks[begin : begin + at_once]
        for block, part in zip(lot, in_parallel(reduce, lot), strict=True):
            span = result[block.first_channel : block.first_channel + block.shape[1]]
            combine(span, part, out=span)
    return norms.finish(result, norm)


def channel_rows(
    flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
) -> Floats:
    """Return some channels' entries of `span`, a row each, 0 where pruned."""
    positions = numbers[:, None] * layout.inner + layout.within(*span)
    values: Floats = NumberReader(flat, np.float64).at(positions.reshape(-1))
    if mask.bits is not None:
        values[~bits_at(mask.bits, positions.reshape(-1))] = 0.0
    return values.reshape(positions.shape)


def are_alike(flat: Values, layout: ChannelLayout, numbers: Integers, step: int) -> bool:
    """Whether some channels, in ascending order, hold the same bits; stops at the first piece where they do not.

    Of channels with several scales it is not known.
    """
    if isinstance(flat, ScaledWeights):
        return flat.layout.scales == 1 and are_alike(flat.codes, layout, numbers, step)
    bits = raw_integers(flat).reshape(layout.outer, layout.channels, layout.inner)
    rows_at_a_time = max(1, step // max(1, layout.channel_entries))
    outer_at_a_time = max(1, step // max(1, layout.inner))
    pieces = (
        (numbers[begin : begin + rows_at_a_time], slice(outer, outer + outer_at_a_time), slice(inner, inner + step))
        for begin in range(0, len(numbers), rows_at_a_time)
        for outer in range(0, layout.outer, outer_at_a_time)
        for inner in range(0, layout.inner, step)
    )
    return all(_are_like(bits[outer, :, inner], int(numbers[0]), part) for part, outer, inner in with_yields(pieces))


def _are_like(bits: Integers, first: int, numbers: Integers) -> bool:
    """Whether channels hold the same bits as the first one."""
    are_neighbors = numbers[-1] - numbers[0] == len(numbers) - 1
    rows = bits[:, int(numbers[0]) : int(numbers[-1]) + 1] if are_neighbors else bits[:, numbers]
    return bool((rows == bits[:, first : first + 1]).all())


def unpruned_channels(mask: PackedMask, layout: ChannelLayout, step: int) -> BoolArray:
    """Mark the channels that have an unpruned entry."""
    if mask.bits is None:
        return np.full(layout.channels, layout.channel_entries > 0)
    found = np.zeros(layout.channels, np.bool_)
    for block in with_yields(layout.blocks(step)):
        span = found[block.first_channel : block.first_channel + block.shape[1]]
        np.logical_or(span, _unpruned_in(mask.bits, block).any(axis=(0, 2)), out=span)
    return found


def spread(channels: BoolArray, layout: ChannelLayout, step: int, packed: Bits) -> None:
    """Write the packed mask of all entries of the marked channels."""
    if layout.inner % 8 == 0:
        bytes_of = np.where(channels, np.uint8(0xFF), np.uint8(0))
        packed.reshape(layout.outer, layout.channels, layout.inner // 8)[:] = bytes_of[None, :, None]
        return
    for block in with_yields(layout.blocks(step)):
        kept = channels[block.first_channel : block.first_channel + block.shape[1]]
        flags = np.broadcast_to(kept[None, :, None], block.shape).reshape(-1)
        before = block.begin % 8  # bits of the first byte that the block before has written
        if before:
            flags = np.concatenate([unpacked(packed[block.begin // 8 : block.begin // 8 + 1], before), flags])
        packed[packed_slice(block.begin, block.end)] = np.packbits(flags, bitorder="little")


def _unpruned_in(packed: Bits, block: Block) -> BoolArray:
    before = block.begin % 8
    bits = packed[packed_slice(block.begin, block.end)]
    return unpacked(bits, before + block.end - block.begin)[before:].reshape(block.shape)


def _reduce_block(reader: NumberReader, mask: PackedMask, power: float, block: Block) -> Floats:
    """Reduce a block to one number for each channel."""
    values = reader.read(block.begin, block.end).reshape(block.shape)
    if mask.bits is not None:
        np.copyto(values, 0.0, where=~_unpruned_in(mask.bits, block))
    with np.errstate(all="ignore"):  # overflow to infinity is what IEEE says, and needs no warning
        if power == 2.0 and block.shape[0] == 1:
            squares: Floats = np.vecdot(values[0], values[0])
            return squares
        terms = norms.terms_in_place(np.abs(values, out=values), power)
        reduced: Floats = _COMBINE.get(power, np.add).reduce(terms, axis=(0, 2))
    return reduced


def _nuclear_norm(flat: Values, mask: PackedMask, layout: ChannelLayout, channel: int) -> float:
    matrix = channel_rows(flat, mask, layout, np.array([channel]), (0, layout.channel_entries)).reshape(
        layout.slice_shape
    )
    if not np.isfinite(matrix).all():
        return float(np.abs(matrix).max())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())
