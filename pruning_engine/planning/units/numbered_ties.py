"""Numbered tensors of a group: which parameters each unit owns, and how many units there are.

The units are the numbers from 0 on without a gap, or as many as the group says. A number that an earlier rule of the
recipe has removed does not count as a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.dtypes import FLOATING, PRUNABLE
from pruning_engine.errors import Reason
from pruning_engine.granularities.channel_groups import ANY, UNIT, ChannelSlice
from pruning_engine.granularities.resolved_groups import NumberedTensors
from pruning_engine.planning.units.numbered_names import NumberedNames

Gone: TypeAlias = Mapping[str, frozenset[int]]
"""Numbers that earlier rules have removed, by what comes before them in names."""

_SCORED_DIMS = 2


class NumberedTieError(Exception):
    """A numbered tie does not fit the checkpoint. `at`: its position in the group; `tensor`: the name at fault."""

    def __init__(self, reason: Reason, at: int, tensor: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.at = at
        self.tensor = tensor


@dataclass(frozen=True, slots=True)
class NumberedTie:
    """A tie of numbered tensors, with the full name that it asks for."""

    at: int
    tie: ChannelSlice
    name: str
    prefix: str

    @property
    def begin(self) -> str:
        """What comes before the number."""
        before = self.tie.tensor.partition(UNIT)[0]
        return f"{self.prefix}.{before}" if self.prefix else before

    @property
    def tail(self) -> str:
        """What follows the number; of `*`, without it."""
        return self.tie.tensor.partition(UNIT)[2].removesuffix(ANY)

    @property
    def is_any(self) -> bool:
        """Whether it means all names that go on so."""
        return self.tie.tensor.endswith(ANY)


@dataclass(slots=True)
class NumberedTies:
    """Finds the tensors of numbered ties; each parameter belongs to one unit of a rule."""

    parameters: Parameters
    names: NumberedNames
    gone: Gone = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def units(self, ties: Sequence[NumberedTie], units: int | None) -> int:
        """Return the number of units, `units` if it is given. Raises: NumberedTieError naming a missing number."""
        numbers: set[int] = set()
        for tie in ties:
            numbers |= self.gone.get(tie.begin, frozenset())
            numbers.update(*(found for found in self._found(tie).values()))
        first = ties[0]
        if not numbers:
            raise NumberedTieError(
                Reason.TIE_MISSING,
                first.at,
                first.name,
                f"the checkpoint has no tensor {first.name!r} with a number in the place of {UNIT}; correct the name",
            )
        count = max(numbers) + 1 if units is None else units
        missing = next((number for number in range(count) if number not in numbers), None)
        if missing is not None:
            raise NumberedTieError(
                Reason.TIE_MISSING,
                first.at,
                first.name.replace(UNIT, str(missing)),
                f"the checkpoint has no tensor {first.name.replace(UNIT, str(missing))!r}, but it has number "
                f"{max(numbers)}; numbers go from 0 on without a gap, so set units if those after it are no units, and "
                "prune all shards of a model together",
            )
        return count

    def resolve(
        self, ties: Sequence[NumberedTie], units: int, group: str, *, scores: bool
    ) -> tuple[NumberedTensors, ...]:
        """Return the tensors of a group's numbered ties. `scores`: whether tensors count as their ties say.

        Raises: NumberedTieError, also for a parameter of two units.
        """
        return tuple(self._resolve(tie, units, group, scores=scores) for tie in ties)

    def check_covered(self, ties: Sequence[NumberedTie]) -> None:
        """Refuse names that would keep their number while others of the unit change it. Raises: NumberedTieError."""
        by_begin: dict[str, list[NumberedTie]] = {}
        for tie in ties:
            by_begin.setdefault(tie.begin, []).append(tie)
        for begin, here in by_begin.items():
            tails = self.names.after(begin)
            exact = {tie.tail for tie in here if not tie.is_any}
            prefixes = tuple({tie.tail for tie in here if tie.is_any})
            self.names.count(len(tails) * len(prefixes))
            uncovered = next((tail for tail in tails if tail not in exact and not tail.startswith(prefixes)), None)
            if uncovered is not None:
                name = next(iter(tails[uncovered].values()))
                raise NumberedTieError(
                    Reason.TIE_MISFIT,
                    here[0].at,
                    name,
                    f"tensor {name!r} has a number where {here[0].name!r} has {UNIT}, and no tie couples it: it would "
                    f"keep its number while its unit gets another; couple it, write {begin}{UNIT}.{ANY}, or set "
                    "keep_numbers",
                )

    def _found(self, tie: NumberedTie) -> Mapping[str, Mapping[int, str]]:
        tails = self.names.after(tie.begin)
        if tie.is_any:
            self.names.count(len(tails))
            found = {tail: numbers for tail, numbers in tails.items() if tail.startswith(tie.tail)}
        else:
            found = {tie.tail: tails[tie.tail]} if tie.tail in tails else {}
        self.names.count(sum(map(len, found.values())))
        return found

    def _resolve(self, tie: NumberedTie, units: int, group: str, *, scores: bool) -> NumberedTensors:
        found = self._found(tie)
        gone = self.gone.get(tie.begin, frozenset())
        if not tie.is_any and not tie.tie.may_be_missing:
            _check_all(tie, found.get(tie.tail, {}), units, gone)
        owned: dict[int, list[str]] = {}
        for numbers in found.values():
            for number, name in numbers.items():
                if number < units:
                    self._own(name, tie, group)
                    owned.setdefault(number, []).append(name)
        names = [name for each in owned.values() for name in each]
        return NumberedTensors(
            tie=tie.name,
            begin=tie.begin,
            owned={number: tuple(sorted(each)) for number, each in sorted(owned.items())},
            scored=self._scored(tie, names) if scores else {},
        )

    def _own(self, name: str, tie: NumberedTie, group: str) -> None:
        if name in self.owners:
            both = f"group {group!r} twice" if self.owners[name] == group else f"{self.owners[name]!r} and {group!r}"
            text = f"tensor {name!r} belongs to units of {both}; a tensor belongs to one unit only: name it in one tie"
            raise NumberedTieError(Reason.UNIT_IN_TWO_GROUPS, tie.at, name, text)
        self.owners[name] = group

    def _scored(self, tie: NumberedTie, names: Iterable[str]) -> dict[str, int]:
        if tie.tie.scored is False:
            return {}
        found = {}
        for name in names:
            weight = self.parameters.weights[name]
            if tie.tie.scored and weight.dtype not in PRUNABLE:
                raise NumberedTieError(
                    Reason.UNPRUNABLE_DTYPE,
                    tie.at,
                    name,
                    f"tensor {name!r} is {weight.dtype}, which cannot count in a unit's importance; leave scored out, "
                    f"or set it for tensors of {', '.join(sorted(PRUNABLE))} only",
                )
            if tie.tie.scored or (weight.dtype in FLOATING and len(weight.shape) >= _SCORED_DIMS):
                found[name] = prod(weight.shape)
        return found


def _check_all(tie: NumberedTie, found: Mapping[int, str], units: int, gone: frozenset[int]) -> None:
    missing = next((number for number in range(units) if number not in found and number not in gone), None)
    if missing is not None:
        name = tie.name.replace(UNIT, str(missing))
        raise NumberedTieError(
            Reason.TIE_MISSING,
            tie.at,
            name,
            f"the checkpoint has no tensor {name!r}; correct the name, or set may_be_missing: true",
        )
