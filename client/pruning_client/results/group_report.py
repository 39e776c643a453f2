"""One group of coupled channels, as a plan or a report describes it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pruning_proto.v1 import pruning_pb2 as pb

UNIT: Final = "{unit}"
"""The segment of a name that stands for the number of a unit: `experts.{unit}.w1.weight`."""

WHOLE_UNITS: Final = ("experts", "layers", "vocabulary")
"""What the names of maps begin with whose units are whole tensors, or rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """What was done to one group of coupled channels; in a plan: what will be.

    `rule` is the position of its rule, `name` the prefix that its `for_each` matched, or the name of its first tensor.
    `kept` are the units that are not pruned, ascending, of `units` in all; none in a plan if the choice depends on the
    weights. `tensors` are those that the group couples; one tensor per unit has `{unit}` in the place of its number.
    `config` has fields of the model's config.json and their new values. `map` is the built-in map that the group is of,
    empty for others, and `scored` the tensors that its units are ranked by.

    Example:
        >>> rule = rules.remove_units(0.5, groups=rules.group(["fc1.weight:0", "fc1.bias:0", "fc2.weight:1"]))
        >>> (group,) = client.dry_run("model.safetensors", rule).groups
        >>> group.units, group.kept
        (8, (4, 5, 6, 7))
    """

    rule: int
    name: str
    units: int
    kept: tuple[int, ...]
    tensors: tuple[str, ...]
    config: Mapping[str, int]
    map: str = ""
    scored: tuple[str, ...] = ()

    @property
    def is_of_whole_units(self) -> bool:
        """Whether its units are experts, layers or rows of the vocabulary, or own whole tensors."""
        return self.map.startswith(WHOLE_UNITS) or any(UNIT in tensor for tensor in self.tensors)

    @property
    def pruned(self) -> tuple[int, ...]:
        """The units that are not kept, ascending."""
        kept = frozenset(self.kept)
        return tuple(unit for unit in range(self.units) if unit not in kept)


def combined(groups: Iterable[GroupReport]) -> tuple[GroupReport, ...]:
    """Return each group once: of several rules over one, the last one's, with the units that none of them prunes."""
    found: dict[str, GroupReport] = {}
    for group in groups:
        before = frozenset(found.get(group.name, group).kept)
        found[group.name] = replace(group, kept=tuple(unit for unit in group.kept if unit in before))
    return tuple(found.values())


def group_of(message: pb.GroupReport) -> GroupReport:
    """Return the group that a message describes."""
    return GroupReport(
        rule=message.rule,
        name=message.name,
        units=message.units,
        kept=tuple(message.kept),
        tensors=tuple(message.tensors),
        config=dict(message.config),
        map=message.map,
        scored=tuple(message.scored),
    )
