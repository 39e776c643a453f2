"""Which tensors a rule acts on: patterns over names, or the default targets.

Knows names, dtypes and dims, never data. Any name of a tied tensor may include it; any excluded name leaves it out. A
pattern with wildcards selects weights of 2 dims or more only, as the default targets do: one that is written for the
matrices of a block also matches its norms. A name written in full may have any dims.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from pruning_engine.dtypes import FLOATING, PRUNABLE
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.planning.selectors.default_targets import LEAST_DIMS, is_weight_name, not_a_layer
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.recipe import Selector

_WILDCARDS: Final = frozenset("*?[")
_REGEX: Final = "re:"

EXPRESSION_BYTES: Final = 1024 * 1024
"""What RE2 may take for one regular expression: enough for 16,000 instructions, and the longest pattern makes a few
thousand. Its default is 8 MiB. If it does not suffice for speed, RE2 still matches, in linear time."""

_CACHED_CHARS: Final = 128
"""The longest glob whose compiled form is kept between calls."""

_Matcher: TypeAlias = Callable[[str], bool]
_Node: TypeAlias = dict[str, "_Node"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern of a selector, compiled. `path`: of the pattern in the recipe."""

    text: str
    path: str
    matches: _Matcher


class _Patterns:
    """Patterns of a selector: names written in full, which are looked up, and patterns with wildcards."""

    __slots__ = ("all", "names", "with_wildcards")

    def __init__(self, patterns: Sequence[str], path: str) -> None:
        _refuse_empty(patterns, path)
        self.all = tuple(
            Pattern(text, f"{path}[{position}]", _matcher(text, f"{path}[{position}]"))
            for position, text in enumerate(patterns)
        )
        self.names = frozenset(filter(is_literal, patterns))
        self.with_wildcards = tuple(pattern.matches for pattern in self.all if pattern.text not in self.names)

    def name_among(self, names: Iterable[str]) -> str | None:
        """Return the first of these names that is written in full."""
        return next((name for name in names if name in self.names), None)

    def match_any(self, names: Sequence[str]) -> bool:
        """Whether any pattern matches any of these names."""
        for name in names:  # without generators, which would take longer than most globs
            if name in self.names:
                return True
            for matches in self.with_wildcards:
                if matches(name):
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Choice:
    """One rule's selector, compiled. It decides tensor by tensor. `include`: None means the default targets."""

    include: _Patterns | None
    exclude: _Patterns
    path: str

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Every pattern of the selector."""
        return (*(() if self.include is None else self.include.all), *self.exclude.all)

    def refuses(self, names: Sequence[str], dtype: str, dims: int) -> NotSelected | None:
        """Return why a tensor of these names is not selected; None: it is.

        Raises: MismatchError if it is named without wildcards and its dtype cannot be pruned.
        """
        named = self.include.name_among(names) if self.include is not None and self.include.names else None
        if named is None and not self._includes(names):
            return NotSelected.NAME
        if self.exclude.all and self.exclude.match_any(names):
            return NotSelected.EXCLUDED
        if named is not None:
            self._check_prunable(named, dtype)
            return None
        return self._refuses_unnamed(names, dtype, dims)

    def _refuses_unnamed(self, names: Sequence[str], dtype: str, dims: int) -> NotSelected | None:
        if dtype not in FLOATING:
            return NotSelected.DTYPE
        if dims < LEAST_DIMS:
            return NotSelected.DIMS
        if self.include is not None:
            return None
        return next(filter(None, (not_a_layer(name, dims) for name in names)), None)

    def _includes(self, names: Sequence[str]) -> bool:
        return any(map(is_weight_name, names)) if self.include is None else self.include.match_any(names)

    def _check_prunable(self, name: str, dtype: str) -> None:
        if dtype not in PRUNABLE:
            raise MismatchError(
                Reason.UNPRUNABLE_DTYPE,
                f"{self.path} names tensor {name!r}, whose dtype {dtype} cannot be pruned; "
                f"prunable dtypes: {', '.join(sorted(PRUNABLE))}",
                field=self.path,
                tensor=name,
            )


def compile_selector(selector: Selector, path: str) -> Choice:
    """Compile a rule's selector; `path`: of the selector in the recipe.

    Raises: RecipeError with the path of an invalid pattern.
    """
    exclude = _Patterns(selector.exclude, f"{path}.exclude")
    include = _Patterns(selector.include, f"{path}.include") if selector.include else None
    return Choice(include, exclude, path)


def _refuse_empty(patterns: Iterable[str], path: str) -> None:
    for position, pattern in enumerate(patterns):
        if not pattern:
            field = f"{path}[{position}]"
            raise RecipeError(Reason.INVALID_PATTERN, f"{field}: a pattern must not be empty", field=field)


def is_literal(pattern: str) -> bool:
    """Whether a pattern of a selector is a name written in full."""
    return not pattern.startswith(_REGEX) and not _WILDCARDS & set(pattern)


def names_in_full(selector: Selector) -> bool:
    """Whether a selector names all its tensors in full."""
    return bool(selector.include) and all(map(is_literal, selector.include))


def _matcher(pattern: str, path: str) -> _Matcher:
    if is_literal(pattern):
        return pattern.__eq__
    if pattern.startswith(_REGEX):
        return _regex(pattern.removeprefix(_REGEX), path)
    return glob_matcher(pattern)


def glob_matcher(pattern: str) -> _Matcher:
    """Return what matches a glob. Only short ones are kept: callers choose their length, and caches outlive calls."""
    if len(pattern) <= _CACHED_CHARS:
        return _cached_glob(pattern)
    matcher = _compile_glob(pattern)
    re.purge()  # `re` keeps the last 512 expressions
    return matcher


@lru_cache(maxsize=256)
def _cached_glob(pattern: str) -> _Matcher:
    return _compile_glob(pattern)


def _compile_glob(pattern: str) -> _Matcher:
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda name: match(name) is not None


def _regex(expression: str, path: str) -> _Matcher:
    # Imported late: most recipes have no regex, and this is a compiled library without type stubs.
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # 10,000 groups would take gigabytes, for a match that nobody asks for
    options.max_mem = EXPRESSION_BYTES
    try:
        match = re2.compile(expression, options).fullmatch
    except re2.error as error:
        raise RecipeError(
            Reason.INVALID_PATTERN,
            f"{path}: {expression!r} is not a regular expression in RE2's syntax: {error}",
            field=path,
        ) from error
    finally:
        re2.purge()  # it keeps the last 128 expressions, of up to EXPRESSION_BYTES each
    return lambda name: match(name) is not None


class NameTree:
    """Names of tensors as a tree of their segments: matching a glob costs no more than the prefixes that it matches."""

    def __init__(self, names: Iterable[str]) -> None:
        self._root: _Node = {}
        for name in names:
            node = self._root
            for segment in name.split("."):
                node = node.setdefault(segment, {})

    def prefixes(self, pattern: str) -> list[str]:
        """Return the prefixes that a glob matches segment by segment, and that a dot and more follows."""
        found: list[tuple[str, _Node]] = [("", self._root)]
        for wanted in pattern.split("."):
            matches = None if wanted == "*" or not _WILDCARDS & set(wanted) else glob_matcher(wanted)
            found = [
                (f"{prefix}.{segment}" if prefix else segment, child)
                for prefix, node in found
                for segment, child in _matching(node, wanted, matches)
            ]
        return [prefix for prefix, node in found if node]


def _matching(node: _Node, wanted: str, matches: _Matcher | None) -> Iterator[tuple[str, _Node]]:
    """Return the children of a segment's name, or those that `matches`; of `*`, all."""
    if matches is None and wanted != "*":
        if wanted in node:
            yield wanted, node[wanted]
        return
    for segment, child in node.items():
        if matches is None or matches(segment):
            yield segment, child
