"""Names of parameters by the numbers in them: `experts.3.w1.weight` is number 3 after `experts.`.

A number is written in decimal digits without leading zeros; other segments in its place belong to no unit.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.runtime.yield_points import with_yields

ByTail: TypeAlias = Mapping[str, Mapping[int, str]]
"""Names by what follows their number, with its dot, then by the number."""

MOST_LOOKED_AT: Final = 4_000_000
"""Names that all numbered ties of a rule look at together: a few seconds of work; more only in larger checkpoints."""

_LOOKS: Final = 8
"""So often may each name of a larger checkpoint be looked at."""

_NAMES_BETWEEN_YIELDS: Final = 256
_MOST_DIGITS: Final = 7


class NumberedNames:
    """The names of a checkpoint's parameters by the numbers in them, each beginning looked at once."""

    def __init__(self, names: Iterable[str], path: str) -> None:
        self._sorted = sorted(names)
        self._path = path
        self._found: dict[str, dict[str, dict[int, str]]] = {}
        self._looked_at = 0
        self._most = max(MOST_LOOKED_AT, _LOOKS * len(self._sorted))

    def after(self, begin: str) -> ByTail:
        """Return the names that have a number after `begin`, which ends with a dot or is empty. Raises: RecipeError."""
        if begin not in self._found:
            self._found[begin] = self._look(begin)
        return self._found[begin]

    def _look(self, begin: str) -> dict[str, dict[int, str]]:
        first = bisect_left(self._sorted, begin)
        last = bisect_left(self._sorted, begin[:-1] + chr(ord(begin[-1]) + 1)) if begin else len(self._sorted)
        self.count(last - first + 1)
        found: dict[str, dict[int, str]] = {}
        for at in with_yields(range(first, last), _NAMES_BETWEEN_YIELDS):
            name = self._sorted[at]
            end = name.find(".", len(begin))
            digits = name[len(begin) : end if end >= 0 else len(name)]
            if _is_number(digits):
                found.setdefault(name[end:] if end >= 0 else "", {})[int(digits)] = name
        return found

    def count(self, names: int) -> None:
        """Count names that are looked at. Raises: RecipeError if they are too many."""
        self._looked_at += names
        if self._looked_at > self._most:
            raise RecipeError(
                Reason.INVALID_RECIPE,
                f"{self._path}: the numbered ties of all groups together are compared with more than "
                f"{self._most:,} names; prune in several calls",
                field=self._path,
            )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and (text == "0" or text[0] != "0")
