"""A group of coupled channels that a built-in map has found in a checkpoint."""

from dataclasses import dataclass

from pruning_engine.granularities.channel_groups import ChannelGroup


@dataclass(frozen=True, slots=True)
class Found:
    """A group that a map has found: its name, the prefix of its tensors' names, and the number of its pattern.

    `routers`: those of the group's ties, by their `tensor`, that score `router_magnitude` ranks. `least_kept`: the
    least number of units that the group keeps, if the map knows one.
    """

    name: str
    prefix: str
    group: ChannelGroup
    pattern: int = 0
    routers: tuple[str, ...] = ()
    least_kept: int = 1
