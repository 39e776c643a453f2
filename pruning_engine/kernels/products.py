"""Entries times one factor per channel: where the factors of a run of flat entries are. Knows shapes only."""

from typing import Final

from pruning_engine.kernels.channel_layout import ChannelLayout

LEAST_INNER: Final = 64
"""Entries of a channel in a row from which on one factor is used for all; below, the factors of a row are repeated."""


def factor_entries(layout: ChannelLayout) -> int:
    """Return how many factors are held: one per channel, or one per entry of a row of short channels."""
    return layout.channels * (layout.inner if layout.inner < LEAST_INNER else 1)


def factor_bytes(layout: ChannelLayout) -> int:
    """Return the bytes of the factors as they are sent to a backend and as it holds them."""
    return 8 * (layout.channels + factor_entries(layout))
