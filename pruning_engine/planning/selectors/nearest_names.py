"""Names of a checkpoint that are near a pattern which matches none: for error messages, in bounded time."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Final

from pruning_engine.planning.selectors.name_patterns import glob_matcher
from pruning_engine.runtime.yield_points import with_yields

_MOST_NAMES: Final = 3
"""Names in a message."""
_MOST_CHARS: Final = 128
"""Of a name or segment that is compared or shown: comparing takes quadratic time."""
_MOST_COMPARED: Final = 2000
"""Segments or names that one text is compared with."""
_MOST_CORRECTED: Final = 4
"""Segments of a pattern that are corrected."""
_LEAST_RATIO: Final = 0.3
"""The least similarity of a name that is shown, in 0..1."""
_NAMES_BETWEEN_YIELDS: Final = 256

_REGEX_ONLY: Final = re.compile(r"\[[^\]]*\]|\\[A-Za-z]|[^\w.\\-]+")
"""What a regular expression has beside text: sets, classes and operators."""


def did_you_mean(pattern: str, names: Sequence[str]) -> str:
    """Return the end of a message about a pattern that matches none of these names, beginning with a semicolon."""
    found = nearest_names(pattern, names)
    if found:
        return f"; did you mean {', '.join(map(repr, found))}?"
    return "; look at the names with `prune inspect`"


def nearest_names(pattern: str, names: Sequence[str]) -> list[str]:
    """Return up to three names near a pattern of a selector; of names that differ in numbers only, the first.

    First names that differ in case, or lie in or end in what the pattern names; then the same for the pattern with
    each unknown segment replaced by the most similar one; then the most similar names.
    """
    glob = _as_glob(pattern)[: 8 * _MOST_CHARS]
    short = [name for name in names if len(name) <= _MOST_CHARS]
    for candidate in _candidates(glob, short):
        for variation in (candidate, f"{candidate}.*", f"*.{candidate}", f"*.{candidate}.*"):
            if found := _matching(variation, short):
                return found
    distinct = list(islice(_distinct(short), _MOST_COMPARED))
    return get_close_matches(glob[:_MOST_CHARS], distinct, _MOST_NAMES, _LEAST_RATIO)


def _as_glob(pattern: str) -> str:
    """Return a pattern as a glob: of a regular expression, its text, with a wildcard for everything else."""
    if not pattern.startswith("re:"):
        return pattern
    return _REGEX_ONLY.sub("*", pattern.removeprefix("re:").replace(r"\.", ".")).replace("\\", "")


def _candidates(glob: str, names: Sequence[str]) -> Iterator[str]:
    """Return the glob itself, and then with its unknown segments corrected, if there are any."""
    yield glob
    known = _segments(names)
    corrected, left = [], _MOST_CORRECTED
    for segment in glob.split("."):
        word = segment.strip("*?")[:_MOST_CHARS]
        is_unknown = bool(word) and not any(word.lower() in each.lower() for each in known)
        near = get_close_matches(word, known, 1) if is_unknown and left else []
        left -= is_unknown
        corrected.append(segment.replace(word, near[0]) if near else segment)
    if (changed := ".".join(corrected)) != glob:
        yield changed


def _segments(names: Iterable[str]) -> list[str]:
    """Return distinct segments of names; numbers are left out."""
    found: dict[str, None] = {}
    for name in with_yields(names, _NAMES_BETWEEN_YIELDS):
        found.update((segment, None) for segment in name.split(".") if not segment.isdigit())
        if len(found) >= _MOST_COMPARED:
            break
    return list(found)


def _matching(glob: str, names: Sequence[str]) -> list[str]:
    matches = glob_matcher(glob.lower())
    matching = (name for name in with_yields(names, _NAMES_BETWEEN_YIELDS) if matches(name.lower()))
    return list(islice(_distinct(matching), _MOST_NAMES))


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """Return the names that differ in more than numbers."""
    seen = set()
    for name in names:
        key = re.sub(r"\d+", "0", name)
        if key not in seen:
            seen.add(key)
            yield name
