"""Which weights are to have statistics: patterns over their full names, as rules have them."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import translate
from typing import Final

from pruning_client.errors import MismatchError, RecipeError
from pruning_proto.reasons import Reason

_REGULAR: Final = "re:"


class Targets:
    """Patterns to include, all weights if there are none, and to exclude. Raises: RecipeError for an invalid one."""

    def __init__(self, include: str | Iterable[str] = (), exclude: str | Iterable[str] = ()) -> None:
        self._include = {pattern: _compiled(pattern) for pattern in _several(include)}
        self._exclude = [_compiled(pattern) for pattern in _several(exclude)]
        self._used: set[str] = set()
        self._seen: list[str] = []

    def includes(self, *names: str | None) -> bool:
        """Whether a weight, by any of its names, is a target."""
        known = [name for name in names if name is not None]
        self._seen += known
        used = [pattern for pattern, regular in self._include.items() if any(map(regular.fullmatch, known))]
        self._used.update(used)
        excluded = any(regular.fullmatch(name) for regular in self._exclude for name in known)
        return (bool(used) or not self._include) and not excluded

    def check_used(self, skipped: Mapping[str, str]) -> None:
        """Refuse a pattern that matches no weight, and a weight that is named in full and has no statistics.

        `skipped` are those, each with the reason. Raises: MismatchError.
        """
        for pattern in self._include:
            if pattern not in self._used:
                near = get_close_matches(pattern, self._seen, n=3)
                hint = f"; the nearest are {', '.join(near)}" if near else ""
                raise MismatchError(
                    f"include: {pattern!r} matches no weight of a layer{hint}. Patterns match whole names of weights",
                    reason=Reason.SELECTS_NOTHING,
                )
            if pattern in skipped:
                raise MismatchError(
                    f"include: {pattern!r} can have no statistics: {skipped[pattern]}", metadata={"tensor": pattern}
                )


def _several(patterns: str | Iterable[str]) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _compiled(pattern: str) -> re.Pattern[str]:
    is_regular = pattern.startswith(_REGULAR)
    try:
        return re.compile(pattern.removeprefix(_REGULAR) if is_regular else translate(pattern))
    except re.error as error:
        raise RecipeError(
            f"include: {pattern!r} is not a regular expression: {error}", reason=Reason.INVALID_PATTERN
        ) from error


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a pattern matches any of these names. Raises: RecipeError if it is not valid."""
    regular = _compiled(pattern)
    return any(map(regular.fullmatch, names))
