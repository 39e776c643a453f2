"""Which tensors a rule acts on: patterns over names, and the default targets.

Knows names, dtypes and dims, never data. Any name of a tied tensor may include it; any excluded name leaves it out.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeAlias

from pruning_engine.dtypes import FLOATING, PRUNABLE
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.recipe import Selector

DEFAULT_INCLUDE: Final = ("*weight",)
"""What the default targets include, of floating point tensors of 2 dims or more."""

DEFAULT_EXCLUDE: Final = (
    "*embed*",
    "*_emb.*",
    "*wte*",
    "*wpe*",
    "shared.weight",
    "*.shared.weight",
    "*lm_head*",
)
"""What the default targets leave out: embeddings and output heads."""

_DEFAULT_DIMS: Final = 2
_WILDCARDS: Final = frozenset("*?[")
_REGEX: Final = "re:"

EXPRESSION_BYTES: Final = 1024 * 1024
"""What RE2 may take for one regular expression: enough for 16,000 instructions, and the longest pattern makes a few
thousand. Its default is 8 MiB. If it does not suffice for speed, RE2 still matches, in linear time."""

_CACHED_CHARS: Final = 128
"""The longest glob whose compiled form is kept between calls."""

_Matcher: TypeAlias = Callable[[str], bool]
_Node: TypeAlias = dict[str, "_Node"]


class NotSelected(StrEnum):
    """Why no rule acts on a tensor."""

    NAME = "name"
    """No rule includes its name."""
    DTYPE = "dtype"
    """A pattern includes its name, but its dtype is not floating point."""
    DIMS = "dims"
    """The default targets have 2 dims or more."""
    EXCLUDED = "excluded"
    """An exclude pattern of the default targets or of the rule leaves it out."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One rule's selector, compiled. It decides tensor by tensor."""

    literals: frozenset[str]
    include: tuple[_Matcher, ...]
    exclude: tuple[_Matcher, ...]
    least_dims: int
    path: str

    def refuses(self, names: Sequence[str], dtype: str, dims: int) -> NotSelected | None:
        """Return why a tensor of these names is not selected; None: it is.

        Raises: MismatchError if it is named without wildcards and its dtype cannot be pruned.
        """
        named = next((name for name in names if name in self.literals), None)
        if named is None and not _any(self.include, names):
            return NotSelected.NAME
        if _any(self.exclude, names):
            return NotSelected.EXCLUDED
        if named is not None and dtype not in PRUNABLE:
            raise MismatchError(
                Reason.UNPRUNABLE_DTYPE,
                f"{self.path} names tensor {named!r}, whose dtype {dtype} cannot be pruned; "
                f"prunable dtypes: {', '.join(sorted(PRUNABLE))}",
                field=self.path,
                tensor=named,
            )
        if named is None and dtype not in FLOATING:
            return NotSelected.DTYPE
        return NotSelected.DIMS if dims < self.least_dims else None


def compile_selector(selector: Selector, path: str) -> Choice:
    """Compile a rule's selector; `path`: of the selector in the recipe.

    Raises: RecipeError with the path of an invalid pattern.
    """
    _refuse_empty(selector.exclude, f"{path}.exclude")
    excludes = [_matcher(pattern, f"{path}.exclude[{i}]") for i, pattern in enumerate(selector.exclude)]
    if not selector.include:
        default = [_matcher(pattern, path) for pattern in DEFAULT_EXCLUDE]
        include = tuple(_matcher(pattern, path) for pattern in DEFAULT_INCLUDE)
        return Choice(frozenset(), include, (*default, *excludes), _DEFAULT_DIMS, path)
    _refuse_empty(selector.include, f"{path}.include")
    literals = frozenset(pattern for pattern in selector.include if is_literal(pattern))
    include = tuple(
        _matcher(pattern, f"{path}.include[{i}]")
        for i, pattern in enumerate(selector.include)
        if pattern not in literals
    )
    return Choice(literals, include, tuple(excludes), 0, path)


def _any(matchers: Iterable[_Matcher], names: Iterable[str]) -> bool:
    return any(matches(name) for name in names for matches in matchers)


def _refuse_empty(patterns: Iterable[str], path: str) -> None:
    for position, pattern in enumerate(patterns):
        if not pattern:
            field = f"{path}[{position}]"
            raise RecipeError(Reason.INVALID_PATTERN, f"{field}: a pattern must not be empty", field=field)


def is_literal(pattern: str) -> bool:
    """Whether a pattern of a selector is a name written in full."""
    return not pattern.startswith(_REGEX) and not _WILDCARDS & set(pattern)


def _matcher(pattern: str, path: str) -> _Matcher:
    if pattern.startswith(_REGEX):
        return _regex(pattern.removeprefix(_REGEX), path)
    return _glob(pattern)


def _glob(pattern: str) -> _Matcher:
    """Compile a glob. Only short ones are kept: a caller chooses how long they are, and caches outlive its call."""
    if len(pattern) <= _CACHED_CHARS:
        return _cached_glob(pattern)
    matcher = _compile_glob(pattern)
    re.purge()  # `re` keeps the last 512 expressions
    return matcher


@lru_cache(maxsize=256)  # the default targets alone have eight, for every call of a server
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
            matches = None if wanted == "*" or not _WILDCARDS & set(wanted) else _glob(wanted)
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
