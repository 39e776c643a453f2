"""Yield points between the pieces of long work, for a caller that shares the machine among several.

The engine cuts what it computes into pieces of a few milliseconds. Inside `with yielding(pause)` it calls `pause` after
every few of them, and sooner where they take longer than usual: `pause` may wait, so that others can compute; what it
raises ends the work. Between pieces no result is half written.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Final, TypeVar

Item = TypeVar("Item")

PIECES: Final = 4
"""The most pieces that one thread computes between two yields."""

SECONDS: Final = 0.005
"""After this time no further piece is begun before a yield: pieces take long where others use the machine too, and a
singular value decomposition is one piece."""


class _Yielding(threading.local):
    """What this thread calls between pieces, if anything."""

    pause: Callable[[], object] | None = None


_yielding = _Yielding()


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """What is computed between two yields: at most `pieces` of each thread (None: all), none begun after `until`."""

    pieces: int | None
    until: float

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return perf_counter() >= self.until


_ENDLESS: Final = TimeSlice(None, inf)


@contextmanager
def yielding(pause: Callable[[], object] | None) -> Iterator[None]:
    """Call `pause` now and then between the pieces that this thread computes inside; None: call nothing."""
    before, _yielding.pause = _yielding.pause, pause
    try:
        yield
    finally:
        _yielding.pause = before


def is_yielding() -> bool:
    """Whether this thread yields between pieces: others may wait for it."""
    return _yielding.pause is not None


def time_slice() -> TimeSlice:
    """Begin what is computed until the next yield; it has no end outside `yielding`."""
    return _ENDLESS if _yielding.pause is None else TimeSlice(PIECES, perf_counter() + SECONDS)


def yield_now() -> None:
    """Yield now, inside `yielding`: between two steps of which each may take milliseconds."""
    if _yielding.pause is not None:
        _yielding.pause()


def with_yields(items: Iterable[Item], pieces: int = PIECES) -> Iterator[Item]:
    """Return `items` in order, with yields in between, for pieces that are computed one after the other.

    `pieces`: the most between two yields; more than the default where items are smaller than pieces.
    """
    done, now = 0, time_slice()
    for item in items:
        yield item
        done += 1
        if done == pieces or now.is_over:
            yield_now()
            done, now = 0, time_slice()
    if done:
        yield_now()
