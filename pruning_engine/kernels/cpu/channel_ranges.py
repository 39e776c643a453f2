"""The least and the largest entry of each channel, on the CPU, block by block."""

import numpy as np

from pruning_engine.kernels.backend import BoolArray, Floats
from pruning_engine.kernels.channel_layout import Block, ChannelLayout
from pruning_engine.kernels.cpu.arrays import NumberReader, Values
from pruning_engine.runtime.threads import PIECE_ENTRIES, in_parallel


def channel_extremes(flat: Values, flags: BoolArray | None, layout: ChannelLayout) -> tuple[Floats, Floats]:
    """Return the largest and the least entry of each channel, in fp64: NaN where one is NaN, 0 where there are none.

    `flags`: the entries that count, flat; the others are 0. None: all do.
    """
    if not layout.channel_entries:
        return np.zeros(layout.channels), np.zeros(layout.channels)
    reader, blocks = NumberReader(flat, np.float64), layout.blocks(PIECE_ENTRIES)
    most, least = np.full(layout.channels, -np.inf), np.full(layout.channels, np.inf)

    def extremes(block: Block) -> tuple[Floats, Floats]:
        values = reader.read(block.begin, block.end)
        if flags is not None:
            values[~flags[block.begin : block.end]] = 0
        shaped = values.reshape(block.shape)
        return shaped.max(axis=(0, 2)), shaped.min(axis=(0, 2))

    for block, (high, low) in zip(blocks, in_parallel(extremes, blocks), strict=True):
        span = slice(block.first_channel, block.first_channel + block.shape[1])
        np.maximum(most[span], high, out=most[span])
        np.minimum(least[span], low, out=least[span])
    return most, least
