"""Names of tensors as a tree of their segments, for globs of whole segments. Knows names only."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

_Node: TypeAlias = dict[str, "_Node"]

_WILDCARDS: Final = frozenset("*?[")


class NameTree:
    """What prefixes there are: a glob costs no more than what it matches, however many names there are."""

    def __init__(self, names: Iterable[str]) -> None:
        self._root: _Node = {}
        for name in names:
            node = self._root
            for segment in name.split("."):
                node = node.setdefault(segment, {})

    def prefixes(self, pattern: str) -> list[str]:
        """Give the prefixes that a glob matches segment by segment, and that a dot and more follows."""
        found: list[tuple[str, _Node]] = [("", self._root)]
        for wanted in pattern.split("."):
            found = [
                (f"{prefix}.{segment}" if prefix else segment, child)
                for prefix, node in found
                for segment, child in _matching(node, wanted)
            ]
        return [prefix for prefix, node in found if node]


def _matching(node: _Node, wanted: str) -> Iterator[tuple[str, _Node]]:
    if not _WILDCARDS & set(wanted):
        if wanted in node:
            yield wanted, node[wanted]
        return
    for segment, child in node.items():
        if wanted == "*" or fnmatchcase(segment, wanted):
            yield segment, child
