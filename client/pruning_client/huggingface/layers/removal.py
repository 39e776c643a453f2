"""What is known of a stack that has lost layers: which are kept, and what a refusal says."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.results.group_report import GroupReport, combined

LAYERS: Final = "layers"
"""The map."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Removal:
    """A stack of `layers` layers, of which those in `kept` are left, ascending."""

    name: str
    layers: int
    kept: tuple[int, ...]

    def is_kept(self, layer: int) -> bool:
        """Whether a layer is left."""
        return self.before(layer + 1) > self.before(layer)

    def before(self, layer: int) -> int:
        """Return how many layers before this one are left."""
        return bisect_left(self.kept, layer)

    def renumbered(self, layer: int) -> int:
        """Return the new number of a layer that is left, or of one behind the stack."""
        return self.before(layer) + max(0, layer - self.layers)

    def cut(self, values: Sequence[_T]) -> list[_T]:
        """Return the entries of the layers that are left, and those behind, which belong to no layer of the stack."""
        return [*(values[layer] for layer in self.kept), *values[self.layers :]]

    def refuse(self, field: str, why: str) -> NoReturn:
        """Refuse what the config cannot express. Raises: MismatchError."""
        raise MismatchError(
            f"{self.name!r} lost layers, and {CONFIG} has {field}: {why}",
            metadata={"tensor": self.name, "field": field},
        )


def removals_of(groups: Iterable[GroupReport]) -> tuple[Removal, ...]:
    """Return the stacks that have lost layers: by several rules those that none of these removes are left."""
    stacks = map(removal_of, combined(group for group in groups if group.map == LAYERS))
    return tuple(each for each in stacks if len(each.kept) < each.layers)


def removal_of(group: GroupReport) -> Removal:
    """Return what a group's stack has lost."""
    return Removal(group.name, group.units, group.kept)
