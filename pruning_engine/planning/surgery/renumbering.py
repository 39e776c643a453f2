"""Names of numbered tensors that remain: each number is lowered by the number of pruned units before it."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from pruning_engine.planning.units.numbered_names import NumberedNames


@dataclass(frozen=True, slots=True)
class _Change:
    """A number in a name: where it is, and what it becomes."""

    begin: int
    end: int
    number: int


def result_names(names: NumberedNames, removed: Mapping[str, frozenset[int]]) -> dict[str, tuple[_Change, ...]]:
    """Return by parameter what changes in its name. `removed`: by what comes before the number, those that are gone.

    Raises: RecipeError for more names than are looked at.
    """
    found: dict[str, list[_Change]] = {}
    for begin, numbers in removed.items():
        gone = sorted(numbers)
        for by_number in names.after(begin).values():
            for number, name in by_number.items():
                lower = bisect_left(gone, number)
                if lower and (lower == len(gone) or gone[lower] != number):
                    end = len(begin) + len(str(number))
                    found.setdefault(name, []).append(_Change(len(begin), end, number - lower))
    return {name: tuple(sorted(each, key=lambda change: change.begin)) for name, each in found.items()}


def renamed(name: str, changes: tuple[_Change, ...]) -> str:
    """Return the name of a tensor, of the parameter or a scale of its, with its new numbers."""
    parts, at = [], 0
    for change in changes:
        parts += [name[at : change.begin], str(change.number)]
        at = change.end
    return "".join([*parts, name[at:]])
