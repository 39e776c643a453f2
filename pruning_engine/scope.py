"""Which entries, channels or units of the selected tensors compete with each other."""

from enum import StrEnum


class Scope(StrEnum):
    """Which entries compete."""

    LOCAL = "local"
    """Each selected tensor gives its share."""
    OUTPUT_CHANNEL = "output_channel"
    """Each output channel of each selected tensor gives its share: each row of a Linear weight."""
    GLOBAL = "global"
    """All selected tensors compete for one amount."""
