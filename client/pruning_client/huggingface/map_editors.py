"""How config.json is edited for maps whose units are more than one number in it.

A row is a map, and a function of the config and the report of one of its groups that returns the new config. Groups of
other maps set the fields that count their units.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from pruning_client.huggingface.layers.edited import without_layers
from pruning_client.huggingface.layers.removal import LAYERS
from pruning_client.huggingface.vocabulary.config import VOCABULARY, with_vocabulary
from pruning_client.results.group_report import GroupReport, combined
from pruning_proto.v1 import pruning_pb2 as pb

ConfigEditor: TypeAlias = Callable[[Mapping[str, Any], GroupReport], dict[str, Any]]

EDITORS: Final[Mapping[str, ConfigEditor]] = {VOCABULARY: with_vocabulary, LAYERS: without_layers}
"""By the name of the map."""


def map_of(group: GroupReport, recipe: pb.Recipe) -> str:
    """Return the map that a group is of; empty for the caller's own groups."""
    units = recipe.rules[group.rule].granularity.units
    is_own = any(group.config.keys() <= set(each.config) for each in units.groups)
    return "" if is_own else units.map


def edited(groups: Iterable[GroupReport], recipe: pb.Recipe) -> tuple[GroupReport, ...]:
    """Return the groups of these maps that have lost units, each once."""
    found = combined(group for group in groups if map_of(group, recipe) in EDITORS)
    return tuple(group for group in found if len(group.kept) < group.units)


def vocabularies(groups: Iterable[GroupReport], recipe: pb.Recipe) -> tuple[GroupReport, ...]:
    """Return the vocabularies that lost tokens."""
    return tuple(group for group in edited(groups, recipe) if map_of(group, recipe) == VOCABULARY)
