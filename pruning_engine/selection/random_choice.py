"""Channels chosen at random, by the same scores on every device."""

from collections.abc import Sequence

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.selection.entries import select


def random_channels(keys: Sequence[int], candidates: Sequence[BoolArray], count: int) -> list[BoolArray]:
    """Mark the `count` candidates of least random score, among the channels of several tensors.

    `keys`: of each tensor's random scores (see random_keys.py). `candidates`: which of its channels can be pruned.
    """
    host = NumpyBackend()
    masks = [host.pack(Buffer("BOOL", flags.shape, flags.view(np.uint8))) for flags in candidates]
    tensors = [host.random(key, mask) for key, mask in zip(keys, masks, strict=True)]
    selected = select(tensors, count)
    return [
        flags & ~host.unpack(kept).array.view(np.bool_) for flags, kept in zip(candidates, selected.kept, strict=True)
    ]
