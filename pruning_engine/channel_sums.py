"""Exact sums of some channels of a tensor, for those too close to the cut to tell apart: see norms.py."""

from itertools import islice
from typing import Final

import numpy as np
import torch

from pruning_engine import norms
from pruning_engine.backend import Backend, Bits, Floats, Integers
from pruning_engine.channels import ChannelLayout
from pruning_engine.numpy_arrays import pieces
from pruning_engine.recipe import Norm
from pruning_engine.threads import in_parallel

_ENTRIES: Final = 1 << 16
"""Entries that are summed at a time."""


def exact_channel_sums(  # noqa: PLR0913, PLR0917 - what Backend.channels takes, and the norm
    backend: Backend, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> Floats:
    """Give the sum of the terms of each of the channels `numbers`; entries that are not alive count as 0."""
    if alive is None and len(numbers) > 1 and backend.are_alike(flat, layout, numbers):
        # A constant tensor, whose channels are all close, is no reason to be slow.
        return np.repeat(exact_channel_sums(backend, flat, alive, layout, numbers[:1], norm), len(numbers))
    step = max(1, _ENTRIES // layout.channel_entries)
    lots = [numbers[begin : begin + step] for begin in range(0, len(numbers), step)]
    spans = pieces(layout.channel_entries, _ENTRIES)

    def parts(item: tuple[Integers, tuple[int, int]]) -> Floats:
        return norms.exact_parts(np.abs(backend.channels(flat, alive, layout, *item)), norm)

    found = iter(in_parallel(parts, [(lot, span) for lot in lots for span in spans]))
    return np.concatenate([norms.rounded_once(list(islice(found, len(spans)))) for _ in lots])
