"""Calls that are ended when their time is over, although gRPC knows no deadline of theirs, because it may move.

One thread looks at all of them once in a while, and ends when there are none: starting one for each call would take
longer than a small call.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pruning_client.transport.retry import Attempts

LOOK_SECONDS: Final = 0.2
"""How often the thread looks."""


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """A running call: its time, and what ends it."""

    attempts: Attempts
    end: Callable[[], object]


class _State:
    """The calls that are watched in this process, and whether a thread watches them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Watch nothing."""
        self.lock = threading.Lock()
        self.watched: set[_Watched] = set()
        self.has_thread = False


_state = _State()


@contextmanager
def ended_when_stalled(attempts: Attempts, end: Callable[[], object]) -> Iterator[None]:
    """Call `end`, from another thread, if the time of a call whose limit moves is over while the block lasts."""
    if not attempts.is_extended:
        yield
        return
    call = _Watched(attempts, end)
    _watch(call)
    try:
        yield
    finally:
        with _state.lock:
            _state.watched.discard(call)


def _watch(call: _Watched) -> None:
    with _state.lock:
        _state.watched.add(call)
        if not _state.has_thread:
            _state.has_thread = True
            threading.Thread(target=_look, name="prune-stalled-calls", daemon=True).start()


def _look() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        with _state.lock:
            if not _state.watched:
                _state.has_thread = False
                return
            late = [call for call in _state.watched if call.attempts.seconds_left == 0]
            _state.watched.difference_update(late)
        for call in late:
            call.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.clear)  # a fork has none of its parent's threads
