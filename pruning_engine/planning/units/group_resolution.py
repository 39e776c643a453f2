"""Groups of coupled channels, found among a checkpoint's parameters by names and shapes.

Everything that can be wrong between groups and tensors is refused here, by name: a tie whose tensor is missing or does
not fit, a unit in two groups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NoReturn, TypeAlias

from pruning_engine.checkpoints.parameters import Parameters, TensorDescription
from pruning_engine.dtypes import FLOATING, PRUNABLE
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice, is_running_statistic
from pruning_engine.granularities.maps.builtin_groups import mapped_groups
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.granularities.units import Units
from pruning_engine.planning.selectors.name_patterns import NameTree
from pruning_engine.planning.units.numbered_names import NumberedNames
from pruning_engine.planning.units.numbered_ties import Gone, NumberedTie, NumberedTieError, NumberedTies
from pruning_engine.runtime.yield_points import with_yields
from pruning_proto.counted import counted

MOST_TIES: Final = 200_000
"""Ties of one rule, all groups together: twice the number of tensors that fit into a header."""

MOST_INDICES: Final = 10_000_000
"""Indices in the ties of one rule, all groups together: a second or two of work."""

MOST_UNITS: Final = 1_000_000
"""Units of one group: their numbers fit into one message of a report."""


_GROUPS_BETWEEN_YIELDS: Final = 64
"""Groups that are resolved between two yields, unless they take long."""

_SCORED_DIMS: Final = 2
_STACKED_DIMS: Final = 3


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter, under whichever of its names a tie has."""

    name: str
    weight: TensorDescription


class _Names(dict[str, _Parameter]):
    """Parameters by each of their names, and numbered ones by their numbers."""

    def __init__(self, names: Mapping[str, _Parameter], numbered: NumberedTies, finding: "Finding") -> None:
        super().__init__(names)
        self.numbered = numbered
        self.finding = finding


_ByName: TypeAlias = _Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How groups are looked for.

    `scores_routers`: only the rows of routers count in a unit's importance. `takes_any_dtype`: only whole positions
    are removed, so that dtypes do not matter. `gone`: numbers that earlier rules have removed.
    """

    scores_routers: bool = False
    takes_any_dtype: bool = False
    gone: Gone = field(default_factory=dict)


_BY_DEFAULT: Final = Finding()


def find_groups(
    units: Units, parameters: Parameters, path: str, finding: Finding = _BY_DEFAULT
) -> tuple[ResolvedGroup, ...]:
    """Return a rule's groups, in the order of their names. `path`: of the granularity's units in the recipe.

    Raises: MismatchError naming the tie's field and the tensor.
    """
    by_name = _Names(
        {
            other: _Parameter(name, weight)
            for name, weight in parameters.weights.items()
            for other in parameters.names(name)
        },
        NumberedTies(parameters, NumberedNames(parameters.weights, path), finding.gone),
        finding,
    )
    asked = _within_limits(_asked(units, by_name, path), path)
    resolved = (each.resolved(by_name) for each in with_yields(asked, _GROUPS_BETWEEN_YIELDS))
    found = sorted(resolved, key=lambda group: group.sort_key)
    refuse_shared(found, path)
    _refuse_half_filled(asked, found, by_name)
    return tuple(found)


def refuse_shared(groups: Iterable[ResolvedGroup], path: str) -> None:
    """Refuse groups of which two own the same position of a tensor. Raises: MismatchError naming both."""
    named = list(groups)
    owned: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for number, group in enumerate(named):
        for tie in group.ties:
            owned.setdefault((tie.parameter, tie.dim), []).extend((*run, number) for run in tie.runs())
    for (tensor, dim), runs in owned.items():
        for (_, end, first), (begin, _, second) in pairwise(sorted(runs)):
            if begin < end:
                both = f"groups {named[first].name!r} and {named[second].name!r}"
                if first == second:
                    both = f"group {named[first].name!r} twice"
                elif named[first].name == named[second].name:
                    both = f"two groups of the name {named[first].name!r}"
                raise MismatchError(
                    Reason.UNIT_IN_TWO_GROUPS,
                    f"{path}: position {begin} of dim {dim} of tensor {tensor!r} is coupled by {both}; a unit "
                    f"belongs to one group only: put what is coupled into one group, or give each part its offset",
                    field=path,
                    tensor=tensor,
                )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group at one prefix: its name, its path in the recipe, and what groups of the same width share."""

    name: str
    prefix: str
    group: ChannelGroup
    path: str
    width_key: object | None
    least_kept: int
    map: str = ""
    routers: tuple[str, ...] = ()

    def resolved(self, by_name: _ByName) -> ResolvedGroup:
        """Return the group with its slices found among the parameters. Raises: MismatchError."""
        try:
            return self._resolved(by_name)
        except NumberedTieError as error:
            self.refuse(error.reason, error.at, error.tensor, str(error))

    def _resolved(self, by_name: _ByName) -> ResolvedGroup:
        slices = [(at, tie) for at, tie in enumerate(self.group.ties) if not tie.is_numbered]
        there = [(at, tie, found) for at, tie in slices if (found := self._find(at, tie, by_name))]
        numbered = [
            NumberedTie(at, tie, self.full_name(tie), self.prefix)
            for at, tie in enumerate(self.group.ties)
            if tie.is_numbered
        ]
        units = self._units(there, by_name.numbered.units(numbered, self.group.units) if numbered else None)
        scores_routers = by_name.finding.scores_routers
        owned = by_name.numbered.resolve(numbered, units, self.name, scores=not scores_routers)
        if not self.group.keep_numbers:
            by_name.numbered.check_covered(numbered)
        ties = (self._tie(at, tie, parameter, units) for at, tie, parameter in there)
        if scores_routers:
            routers = {at for at, tie in slices if self._is_router(tie)}
            ties = (replace(tie, scored=at in routers) for (at, *_), tie in zip(there, ties, strict=True))
        return ResolvedGroup(
            name=self.name,
            units=units,
            ties=tuple(ties),
            config=self.group.config,
            width_key=(self.width_key, units) if self._has_mapped_config else self.width_key,
            numbered=owned,
            keeps_numbers=self.group.keep_numbers,
            least_kept=self.least_kept,
            map=self.map,
        )

    def _is_router(self, tie: ChannelSlice) -> bool:
        """Whether the rows of a tie's tensor are those of a router: as the map says, or as the group's `scored`."""
        return tie.tensor in self.routers if self._is_mapped else tie.scored is True

    @property
    def _is_mapped(self) -> bool:
        """Whether a map found the group: then only blocks of the same size have the same width."""
        return self.path.endswith(".map")

    @property
    def _has_mapped_config(self) -> bool:
        return self._is_mapped and bool(self.group.config) and self.width_key is not None

    def full_name(self, tie: ChannelSlice) -> str:
        """Return the name of a tie's tensor with the group's prefix."""
        return f"{self.prefix}.{tie.tensor}" if self.prefix else tie.tensor

    def refuse(self, reason: Reason, at: int, tensor: str, text: str) -> NoReturn:
        """Refuse one of its ties. Raises: MismatchError."""
        field = self.path if self._is_mapped else f"{self.path}.ties[{at}]"
        raise MismatchError(reason, f"{field}: group {self.name!r}: {text}", field=field, tensor=tensor)

    def _find(self, at: int, tie: ChannelSlice, by_name: _ByName) -> _Parameter | None:
        name = self.full_name(tie)
        parameter = by_name.get(name)
        if parameter is None:
            if tie.may_be_missing:
                return None
            self.refuse(
                Reason.TIE_MISSING,
                at,
                name,
                f"the checkpoint has no tensor {name!r}; correct the name, or set may_be_missing: true",
            )
        weight = parameter.weight
        if weight.dtype not in PRUNABLE and not by_name.finding.takes_any_dtype:
            self.refuse(
                Reason.UNPRUNABLE_DTYPE,
                at,
                name,
                f"tensor {name!r} is {weight.dtype}, which cannot be pruned; prunable dtypes: "
                f"{', '.join(sorted(PRUNABLE))}",
            )
        if not -len(weight.shape) <= tie.dim < len(weight.shape):
            self.refuse(
                Reason.TIE_MISFIT, at, name, f"tensor {name!r} of shape {list(weight.shape)} has no dim {tie.dim}"
            )
        return parameter

    def _units(self, there: Sequence[tuple[int, ChannelSlice, _Parameter]], numbered: int | None) -> int:
        """Return the number of units: the group's, that of its numbers, or that of its first tie of a whole dim."""
        units = self.group.units if numbered is None else numbered
        for at, tie, parameter in there:
            if units is None and tie.fills_its_dim:
                size, each = parameter.weight.shape[tie.dim], tie.outer * tie.inner
                if size % each:
                    self._refuse_misfit(at, tie, parameter, f"which is not a multiple of {each} (outer x inner)")
                units = size // each
        if units is None:
            names = [self.full_name(tie) for tie in self.group.ties]
            text = f"the checkpoint has none of {names}" if not there else "each of its ties names a part of a dim"
            self.refuse(
                Reason.TIE_MISFIT if there else Reason.TIE_MISSING,
                0,
                names[0],
                f"{text}, so the number of units is unknown; say units: N",
            )
        if not 1 <= units <= MOST_UNITS or not (there or numbered):
            self.refuse(
                Reason.TIE_MISFIT if there else Reason.TIE_MISSING,
                0,
                self.full_name(self.group.ties[0]),
                f"{counted(units, 'unit')} in {counted(len(there), 'tensor')}; 1 to {MOST_UNITS:,} in at least "
                f"one are allowed",
            )
        return units

    def _tie(self, at: int, tie: ChannelSlice, parameter: _Parameter, units: int) -> ResolvedSlice:
        size = parameter.weight.shape[tie.dim]
        if tie.indices:
            self._check_indices(at, tie, parameter, units)
        elif tie.offset + units * tie.outer * tie.inner > size:
            needed = f"{units} units of {tie.outer * tie.inner}" + (f" from {tie.offset}" if tie.offset else "")
            self._refuse_misfit(at, tie, parameter, f"but {needed} need {tie.offset + units * tie.outer * tie.inner}")
        statistic = is_running_statistic(parameter.name)
        by_default = parameter.weight.dtype in FLOATING and len(parameter.weight.shape) >= _SCORED_DIMS
        return ResolvedSlice(
            parameter=parameter.name,
            shape=parameter.weight.shape,
            dim=tie.dim % len(parameter.weight.shape),
            units=units,
            offset=tie.offset,
            outer=tie.outer,
            inner=tie.inner,
            indices=tie.indices,
            scored=not statistic and (by_default if tie.scored is None else tie.scored),
            is_zeroed=not statistic,
            is_input=_is_input(tie, parameter.weight.shape) if self._is_mapped else None,
        )

    def _check_indices(self, at: int, tie: ChannelSlice, parameter: _Parameter, units: int) -> None:
        size = parameter.weight.shape[tie.dim]
        if len(tie.indices) != units * tie.inner:
            text = f"but {units} units of {tie.inner} need {units * tie.inner} indices, and it gives {len(tie.indices)}"
            self._refuse_misfit(at, tie, parameter, text)
        if max(tie.indices) >= size or min(tie.indices) < 0:
            self._refuse_misfit(at, tie, parameter, f"and its indices go up to {max(tie.indices)}")
        if len(set(tie.indices)) != len(tie.indices):
            self._refuse_misfit(at, tie, parameter, "and one of its indices stands twice")

    def _refuse_misfit(self, at: int, tie: ChannelSlice, parameter: _Parameter, text: str) -> NoReturn:
        shape = list(parameter.weight.shape)
        self.refuse(
            Reason.TIE_MISFIT,
            at,
            self.full_name(tie),
            f"dim {tie.dim} of tensor {self.full_name(tie)!r} of shape {shape} has {shape[tie.dim]} positions, {text}; "
            f"correct the tie's dim, offset, outer or inner",
        )

    def refuse_half_filled(self, found: ResolvedGroup, by_name: _ByName, covered: "_Covered") -> None:
        """Refuse a tie that leaves positions over, unless the tie or the group says so. Raises: MismatchError."""
        if self.group.units is not None:
            return
        for at, tie in enumerate(self.group.ties):
            parameter = by_name.get(self.full_name(tie))
            if parameter is None or tie.is_numbered or not tie.fills_its_dim:
                continue
            size = parameter.weight.shape[tie.dim]
            taken = covered[parameter.name, tie.dim % len(parameter.weight.shape)]
            if taken != size:
                each = tie.outer * tie.inner
                text = f"but {found.units} units of {each} are only {taken} (say units: N if that is intended)"
                self._refuse_misfit(at, tie, parameter, text)


def _is_input(tie: ChannelSlice, shape: tuple[int, ...]) -> bool:
    """Whether a tie of a map is along the inputs of its tensor: dim 1; of stacked experts, what is not gate and up."""
    if len(shape) == _STACKED_DIMS:
        return tie.outer == 1 and tie.dim != 0
    return len(shape) >= _SCORED_DIMS and tie.dim == 1


_Covered: TypeAlias = Mapping[tuple[str, int], int]
"""The number of positions of each coupled dim that a unit owns."""


def _refuse_half_filled(asked: Sequence[_Asked], found: Sequence[ResolvedGroup], by_name: _ByName) -> None:
    covered: dict[tuple[str, int], int] = {}
    for group in found:
        for tie in group.ties:
            place = tie.parameter, tie.dim
            covered[place] = covered.get(place, 0) + tie.units * tie.unit_positions
    in_order = sorted(asked, key=lambda each: each.name.encode())
    for each, group in zip(in_order, found, strict=True):
        each.refuse_half_filled(group, by_name, covered)


def _asked(units: Units, by_name: _ByName, path: str) -> Iterator[_Asked]:
    """Return a rule's groups, one for each prefix."""
    if units.map:
        shapes = {name: parameter.weight.shape for name, parameter in by_name.items()}
        for found in mapped_groups(units.map, units.head_dim, shapes, path):
            key = _width_key(units, found.group, ("map", found.pattern))
            least = max(units.least_kept, found.least_kept)
            place = f"{path}.map"
            yield _Asked(found.name, found.prefix, found.group, place, key, least, units.map, found.routers)
    tree = NameTree(by_name) if any(group.for_each for group in units.groups) else None
    for position, group in with_yields(enumerate(units.groups), _GROUPS_BETWEEN_YIELDS):
        place = f"{path}.groups[{position}]"
        key = _width_key(units, group, position)
        if tree is None or not group.for_each:
            yield _Asked(group.ties[0].tensor, "", group, place, key, units.least_kept)
            continue
        prefixes = tree.prefixes(group.for_each)
        if not prefixes:
            raise MismatchError(
                Reason.SELECTS_NOTHING,
                f"{place}.for_each: no name of the checkpoint begins with {group.for_each!r} and a dot, where * is one "
                f"segment of a name; look at the names with `prune inspect`",
                field=f"{place}.for_each",
            )
        yield from (_Asked(prefix, prefix, group, place, key, units.least_kept) for prefix in prefixes)


def _within_limits(asked: Iterable[_Asked], path: str) -> list[_Asked]:
    """Refuse too many ties or indices before they are resolved. Raises: RecipeError."""
    kept, ties, indices = [], 0, 0
    for each in asked:
        kept.append(each)
        ties += len(each.group.ties)
        indices += sum(len(tie.indices) for tie in each.group.ties)
        if ties > MOST_TIES or indices > MOST_INDICES:
            raise RecipeError(
                Reason.INVALID_RECIPE,
                f"{path}.groups: all prefixes together have more than {MOST_TIES:,} ties or {MOST_INDICES:,} indices; "
                f"prune in several calls, or write offset, outer and inner in place of indices",
                field=f"{path}.groups",
            )
    return kept


def _width_key(units: Units, group: ChannelGroup, pattern: object) -> object | None:
    """Return what groups of the same width share: their fields of config.json, or with same_width their pattern."""
    if units.own_widths:
        return None
    if group.config:
        return tuple(sorted(group.config.items()))
    return pattern if units.same_width else None
