"""Pauses between the pieces of long work, for a caller who shares the machine among several.

The engine cuts what it computes into pieces of a few milliseconds. Whoever calls it `with pausing(pause)` is asked
after every few of them: `pause` may wait, and so let others compute; what it raises ends the work. Between pieces no
buffer is in use, and nothing is half done that others could see.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

Item = TypeVar("Item")

PIECES: Final = 4
"""Pieces that one thread computes between two pauses: some 5 ms."""


class _Pausing(threading.local):
    """What this thread calls between pieces, if anything."""

    pause: Callable[[], object] | None = None


_pausing = _Pausing()


@contextmanager
def pausing(pause: Callable[[], object]) -> Iterator[None]:
    """Call `pause` now and then between the pieces of what this thread computes while inside."""
    before, _pausing.pause = _pausing.pause, pause
    try:
        yield
    finally:
        _pausing.pause = before


def spells(items: Sequence[Item], threads: int = 1) -> Iterator[Sequence[Item]]:
    """Give `items` in order, so many at a time as are computed between two pauses, with a pause after each lot.

    All at once where nobody asked for pauses.
    """
    pause = _pausing.pause
    if pause is None:
        yield items
        return
    for begin in range(0, len(items), PIECES * threads):
        yield items[begin : begin + PIECES * threads]
        pause()


def with_pauses(items: Sequence[Item]) -> Iterator[Item]:
    """Give `items` in order, with pauses in between, for pieces that are computed one after the other."""
    for spell in spells(items):
        yield from spell
