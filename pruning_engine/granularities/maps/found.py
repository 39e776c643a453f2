"""A group of coupled channels that a built-in map has found in a checkpoint."""

from dataclasses import dataclass

from pruning_engine.granularities.channel_groups import ChannelGroup


@dataclass(frozen=True, slots=True)
class Found:
    """A group that a map has found: its name, the prefix of its tensors' names, and the number of its pattern."""

    name: str
    prefix: str
    group: ChannelGroup
    pattern: int = 0
