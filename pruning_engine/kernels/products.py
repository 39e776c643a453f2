"""Entries times one factor per channel: where the factors of a run of flat entries are. Knows shapes only."""

from typing import Any, Final, TypeAlias

from pruning_engine.kernels.channel_layout import ChannelLayout

Positions: TypeAlias = Any
"""Flat positions: a numpy array or a torch tensor of integers."""

LEAST_INNER: Final = 64
"""Entries of a channel in a row from which on one factor is used for all; below, the factors of a row are repeated."""


def factor_entries(layout: ChannelLayout) -> int:
    """Return how many factors are held: one per channel, or one per entry of a row of short channels."""
    return layout.channels * (layout.inner if layout.inner < LEAST_INNER else 1)


def factor_bytes(layout: ChannelLayout) -> int:
    """Return the bytes of the factors as they are sent to a backend and as it holds them."""
    return 8 * (layout.channels + factor_entries(layout))


def batches_of(layout: ChannelLayout, factors: int) -> int:
    """Return how many parts of a tensor have factors of their own, such as the experts that are stacked in it."""
    return max(1, factors // max(1, layout.channels))


def factor_indices(positions: Positions, layout: ChannelLayout, batches: int) -> Positions:
    """Return which factor each entry is multiplied by; those of batches follow each other."""
    channels = positions // layout.inner
    if batches == 1:
        return channels % layout.channels
    of_batch = layout.outer // batches * layout.channels
    return channels // of_batch * layout.channels + channels % layout.channels
