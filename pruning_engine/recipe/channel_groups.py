"""Units of tied channels as they are asked for: who is tied to whom, as data. Frozen values that know no tensor.

Unit `u` of one tie is unit `u` of all ties of its group: the rows of one weight, the entries of its bias, the columns
of the next weight. Which tensors of a checkpoint that means is found in `unit_groups.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pruning_engine.errors import Reason, RecipeError

RUNNING_STATISTICS: Final = ("running_mean", "running_var")
"""Last parts of names of a BatchNorm's statistics: sliced with their unit, but never scored or zeroed."""

MOST_PER_UNIT: Final = 2**32 - 1
"""What one unit may count for in a field of config.json: with all units it fits into a report."""


@dataclass(frozen=True, slots=True)
class ChannelSlice:
    """Where the units lie in one tensor: `dim` from `offset`, seen as (outer, units, inner); unit u owns [:, u, :].

    With `indices`, unit u owns the positions indices[u * inner] up to indices[(u + 1) * inner] of `dim`. `scored`:
    whether its entries count in a unit's importance; None: if it is of floating point and 2 dims or more.
    """

    tensor: str
    dim: int = 0
    offset: int = 0
    outer: int = 1
    inner: int = 1
    indices: tuple[int, ...] = ()
    scored: bool | None = None
    may_be_missing: bool = False

    @property
    def fills_its_dim(self) -> bool:
        """Whether the units are all that the dim holds, as far as the tie tells: it names no part of it."""
        return not self.offset and not self.indices


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Tensors whose channels are tied.

    `for_each`: a glob of whole name segments; one group for each prefix of names that it matches. `units`: how many
    there are; None: as many as the first tie without offset and indices has. `config`: fields of the model's
    config.json, and how many each unit counts for.
    """

    ties: tuple[ChannelSlice, ...]
    for_each: str = ""
    units: int | None = None
    config: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Units of tied channels fall: in every tensor of their group, or in none.

    `map`: a built-in map by name (see group_maps.py), whose groups come before `groups`. The number of units kept in
    each group is rounded up to a multiple of `round_to`; with `same_width` all groups of one pattern keep the same.
    """

    groups: tuple[ChannelGroup, ...] = ()
    map: str = ""
    head_dim: int | None = None
    round_to: int = 1
    same_width: bool = False


def is_running_statistic(name: str) -> bool:
    """Whether a tensor is a running statistic, by the last part of its name."""
    return name.rpartition(".")[2] in RUNNING_STATISTICS


def check_units(units: Units, path: str) -> None:
    """Refuse what makes no sense for any checkpoint. Raises: RecipeError with the path of the field at fault."""
    if not units.groups and not units.map:
        refuse(f"{path}.groups", "say what is tied: groups, or a map by name")
    _check_least(units.round_to, 1, f"{path}.round_to")
    if units.head_dim is not None:
        _check_least(units.head_dim, 1, f"{path}.head_dim")
    for position, group in enumerate(units.groups):
        _check_group(group, f"{path}.groups[{position}]")


def refuse(path: str, text: str) -> None:
    """Refuse a field of a recipe. Raises: RecipeError."""
    raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)


def _check_group(group: ChannelGroup, path: str) -> None:
    if not group.ties:
        refuse(f"{path}.ties", "at least one tie is required")
    if group.for_each and not all(group.for_each.split(".")):
        raise RecipeError(
            Reason.INVALID_PATTERN,
            f"{path}.for_each: {group.for_each!r} has an empty segment; write segments with one dot between, and none "
            f"at the end: 'model.layers.*.mlp'",
            field=f"{path}.for_each",
        )
    if group.units is not None:
        _check_least(group.units, 1, f"{path}.units")
    for name, count in group.config.items():
        if not 1 <= count <= MOST_PER_UNIT:
            refuse(f'{path}.config["{name}"]', f"a whole number, 1 to {MOST_PER_UNIT:,}, is required, got {count:,}")
    for position, tie in enumerate(group.ties):
        for place, text in _wrong_with(tie):
            refuse(f"{path}.ties[{position}].{place}", text)


def _wrong_with(tie: ChannelSlice) -> Iterator[tuple[str, str]]:
    """Give (field, what is wrong with it)."""
    if not tie.tensor:
        yield "tensor", "a name is required"
    for place, value, least in (("offset", tie.offset, 0), ("outer", tie.outer, 1), ("inner", tie.inner, 1)):
        if value < least:
            yield place, f"a whole number from {least} is required, got {value}"
    if tie.indices and (tie.offset or tie.outer != 1):
        yield "indices", "with indices, offset and outer are left out"
    if tie.scored and is_running_statistic(tie.tensor):
        yield "scored", f"{tie.tensor!r} is a running statistic, which never counts; leave scored out"


def _check_least(value: int, least: int, path: str) -> None:
    if value < least:
        refuse(path, f"a whole number from {least} is required, got {value}")
