"""Pauses between the pieces of long work, for a caller who shares the machine among several.

The engine cuts what it computes into pieces of a few milliseconds. Whoever calls it `with yielding(pause)` is asked
after every few of them, and sooner where they take longer than usual: `pause` may wait, and so let others compute;
what it raises ends the work. Between pieces no buffer is in use, and nothing is half done that others could see.
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
"""Pieces that one thread computes between two pauses at the most."""

SECONDS: Final = 0.005
"""After so long no further piece is begun before a pause: pieces take long where others use the machine too, and a
singular value decomposition is one piece."""


class _Yielding(threading.local):
    """What this thread calls between pieces, if anything."""

    pause: Callable[[], object] | None = None


_yielding = _Yielding()


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """What is computed between two pauses: so many pieces of each thread (None: all), none begun after `until`."""

    pieces: int | None
    until: float

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return perf_counter() >= self.until


_ENDLESS: Final = TimeSlice(None, inf)


@contextmanager
def yielding(pause: Callable[[], object] | None) -> Iterator[None]:
    """Call `pause` now and then between the pieces of what this thread computes while inside; None: call nothing."""
    before, _yielding.pause = _yielding.pause, pause
    try:
        yield
    finally:
        _yielding.pause = before


def time_slice() -> TimeSlice:
    """Begin what is computed until the next pause; without end where nobody asked for pauses."""
    return _ENDLESS if _yielding.pause is None else TimeSlice(PIECES, perf_counter() + SECONDS)


def yield_now() -> None:
    """Pause now, if somebody asked for pauses: between two steps of which each may take milliseconds."""
    if _yielding.pause is not None:
        _yielding.pause()


def with_yields(items: Iterable[Item], pieces: int = PIECES) -> Iterator[Item]:
    """Return `items` in order, with pauses in between, for pieces that are computed one after the other.

    `pieces`: how many make a spell at the most; more than the default where items are less than pieces.
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
