"""The map of layers: stacks of numbered layers, of which each owns all of its tensors.

`pruning_proto.layer_stacks` says how layers are told from experts and other numbered modules.
"""

from collections.abc import Iterator
from typing import Final

from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.maps.blocks import Shapes
from pruning_engine.granularities.maps.found import Found
from pruning_proto.layer_stacks import layer_stacks

LAYERS: Final = "layers"
"""The name of the map."""

_ALL_OF_A_LAYER: Final = "{unit}.*"


def layers(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001 - one signature
    """Return the stacks of layers, each a group of its own pattern: stacks of a model have different lengths."""
    for pattern, stack in enumerate(layer_stacks(shapes)):
        group = ChannelGroup(ties=(ChannelSlice(_ALL_OF_A_LAYER),), units=stack.layers)
        yield Found(stack.prefix, stack.prefix, group, pattern=pattern)
