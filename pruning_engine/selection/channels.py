"""Exact sums of some channels of a tensor, for those too close to the cut to tell apart: see norms.py."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np
import torch

from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import Backend, Bits, Floats, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.norm import Norm
from pruning_engine.runtime.threads import in_parallel

_ENTRIES: Final = 1 << 16
"""Entries that are summed at a time."""


def exact_channel_sums(  # noqa: PLR0913, PLR0917 - what Backend.channels takes, and the norm
    backend: Backend, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> Floats:
    """Give the sum of the terms of each of the channels `numbers`; entries that are not alive count as 0."""
    if alive is None and len(numbers) > 1 and backend.are_alike(flat, layout, numbers):
        # A constant tensor, whose channels are all close, is no reason to be slow.
        return np.repeat(exact_channel_sums(backend, flat, alive, layout, numbers[:1], norm), len(numbers))
    lots, found = _parts(backend, flat, alive, layout, numbers, norm)
    return np.concatenate([norms.rounded_once(list(islice(found, len(_spans(layout))))) for _ in lots])


def exact_channel_parts(  # noqa: PLR0913, PLR0917
    backend: Backend, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> Floats:
    """Give a few numbers for each of the channels `numbers`, a row each, whose sum is exactly that of its terms."""
    lots, found = _parts(backend, flat, alive, layout, numbers, norm)
    rows = [np.concatenate(list(islice(found, len(_spans(layout)))), axis=1) for _ in lots]
    parts = np.zeros((len(numbers), max(row.shape[1] for row in rows)))
    begin = 0
    for row in rows:
        parts[begin : begin + len(row), : row.shape[1]] = row
        begin += len(row)
    return parts


def _parts(  # noqa: PLR0913, PLR0917
    backend: Backend, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> tuple[list[Integers], Iterator[Floats]]:
    """Cut channels into lots that are summed at a time; give these, and the parts of each span of each lot."""
    step = max(1, _ENTRIES // layout.channel_entries)
    lots = [numbers[begin : begin + step] for begin in range(0, len(numbers), step)]

    def parts(item: tuple[Integers, tuple[int, int]]) -> Floats:
        return norms.exact_parts(np.abs(backend.channels(flat, alive, layout, *item)), norm)

    return lots, iter(in_parallel(parts, [(lot, span) for lot in lots for span in _spans(layout)]))


def _spans(layout: ChannelLayout) -> list[tuple[int, int]]:
    return pieces(layout.channel_entries, _ENTRIES)
