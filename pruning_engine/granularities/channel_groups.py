"""Groups of coupled channels as a recipe describes them: which slices of which tensors belong together.

Unit `u` of one slice is unit `u` of every slice of its group: the rows of one weight, the entries of its bias, the
columns of the next weight. Or a unit owns whole tensors, whose names have its number: `experts.{unit}.w1.weight`.
`planning/units/group_resolution.py` finds the tensors of a checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pruning_engine.errors import Reason, RecipeError

RUNNING_STATISTICS: Final = ("running_mean", "running_var")
"""Last parts of names of a BatchNorm's statistics: sliced with their unit, but never scored or zeroed."""

UNIT: Final = "{unit}"
"""The segment of a name in whose place numbered tensors have the number of their unit."""

ANY: Final = "*"
"""The last segment of the name of numbered tensors that stands for all names with what comes before it."""

MOST_PER_UNIT: Final = 2**32 - 1
"""The most that one unit may count for in a field of config.json, so that the product fits into a report."""


@dataclass(frozen=True, slots=True)
class ChannelSlice:
    """Where the units are in one tensor: `dim` from `offset`, seen as (outer, units, inner); unit u owns [:, u, :].

    With `indices`, unit u owns the positions indices[u * inner] up to indices[(u + 1) * inner] of `dim`. `scored`:
    whether its entries count in a unit's importance; None: if it has a floating point dtype and 2 dims or more.
    With one segment `{unit}` in its name it is of numbered tensors: unit u owns all of those with the number u there.
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
    def is_numbered(self) -> bool:
        """Whether it is of numbered tensors, which units own whole."""
        return UNIT in self.tensor

    @property
    def fills_its_dim(self) -> bool:
        """Whether the units fill the dim: the slice names no part of it."""
        return not self.offset and not self.indices


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Tensors whose channels are coupled.

    `for_each`: a glob of whole name segments; one group for each prefix of names that it matches. `units`: the
    number of units; None: as many as there are numbers, or as the first slice without offset and indices has.
    `config`: fields of the model's config.json, and how many each unit counts for. `keep_numbers`: numbered tensors
    that remain keep their numbers, so that there are gaps.
    """

    ties: tuple[ChannelSlice, ...]
    for_each: str = ""
    units: int | None = None
    config: Mapping[str, int] = field(default_factory=dict, hash=False)
    keep_numbers: bool = False


def is_running_statistic(name: str) -> bool:
    """Whether a tensor is a running statistic, by the last part of its name."""
    return name.rpartition(".")[2] in RUNNING_STATISTICS


def refuse(path: str, text: str) -> None:
    """Refuse a field of a recipe. Raises: RecipeError."""
    raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)


def check_group(group: ChannelGroup, path: str) -> None:
    """Refuse a group that is invalid for any checkpoint. Raises: RecipeError with the path of the field at fault."""
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
        check_least(group.units, 1, f"{path}.units")
    for name, count in group.config.items():
        if not 1 <= count <= MOST_PER_UNIT:
            refuse(f'{path}.config["{name}"]', f"a whole number, 1 to {MOST_PER_UNIT:,}, is required, got {count:,}")
    if group.keep_numbers and not any(tie.is_numbered for tie in group.ties):
        refuse(f"{path}.keep_numbers", f"no tie of the group has numbers ({UNIT}); leave it out")
    for position, tie in enumerate(group.ties):
        for place, text in _wrong_with(tie):
            refuse(f"{path}.ties[{position}].{place}", text)


def _wrong_with(tie: ChannelSlice) -> Iterator[tuple[str, str]]:
    """Return the fields that are invalid, each with what is wrong."""
    if not tie.tensor:
        yield "tensor", "a name is required"
    if tie.is_numbered:
        yield from _wrong_with_numbered(tie)
        return
    for place, value, least in (("offset", tie.offset, 0), ("outer", tie.outer, 1), ("inner", tie.inner, 1)):
        if value < least:
            yield place, f"a whole number from {least} is required, got {value}"
    if tie.indices and (tie.offset or tie.outer != 1):
        yield "indices", "with indices, offset and outer are left out"
    if tie.scored and is_running_statistic(tie.tensor):
        yield "scored", f"{tie.tensor!r} is a running statistic, which never counts; leave scored out"


def _wrong_with_numbered(tie: ChannelSlice) -> Iterator[tuple[str, str]]:
    """Return the fields that are invalid for numbered tensors, each with what is wrong."""
    segments = tie.tensor.split(".")
    if segments.count(UNIT) != 1 or tie.tensor.count(UNIT) != 1:
        yield "tensor", f"{tie.tensor!r} needs {UNIT} exactly once, as a whole segment between dots"
    if not all(segments):
        yield "tensor", f"{tie.tensor!r} has an empty segment; write segments with one dot between"
    if ANY in segments[:-1] or segments[-1] == UNIT + ANY:
        yield "tensor", f"{tie.tensor!r} may have {ANY} as its last segment only"
    given = {"dim": tie.dim, "offset": tie.offset, "outer": tie.outer - 1, "inner": tie.inner - 1}
    for place in (*(place for place, value in given.items() if value), *(["indices"] if tie.indices else [])):
        yield place, f"numbered tensors ({UNIT}) belong to their units whole; leave it out"


def check_least(value: int, least: int, path: str) -> None:
    """Refuse a number below the least allowed one. Raises: RecipeError."""
    if value < least:
        refuse(path, f"a whole number from {least} is required, got {value}")
