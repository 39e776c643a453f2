"""The order of a table's rows, as --sort asks for it."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from pruning_client.cli.arguments import PRINTED, titled

_ItemT = TypeVar("_ItemT")

FILE: Final = "file"
"""The order of the file."""

Orders: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""What rows are ordered by, ascending, by the name of the order."""


def add_sort(parser: ArgumentParser, orders: Orders, default: str) -> None:
    """Add --sort."""
    names = (FILE, *orders)
    titled(parser, PRINTED).add_argument(
        "--sort",
        choices=names,
        metavar="ORDER",
        help=f"of the tensors: {', '.join(names)}; all but file and name begin with the largest; default: {default}",
    )


def first(items: Sequence[_ItemT], orders: Orders, order: str, top: int | None) -> list[_ItemT]:
    """Return the `top` first items in an order; None: all. Of equal ones, those that come first in the file."""
    if order == FILE:
        return list(items)[:top]
    return sorted(items, key=orders[order])[:top]
