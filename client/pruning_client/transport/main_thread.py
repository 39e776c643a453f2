"""Calls protected from interrupts.

Python runs signal handlers in the main thread, between any two steps. One that raises (Ctrl-C does) inside gRPC, or
inside a lock's `with`, leaves a call that nobody continues or a lock that nobody releases, and `close` would wait for
it for ever. So calls of the main thread are carried out in another, and the main thread only waits.
"""

import _thread
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Final, Generic, TypeVar

RELEASE_GRACE_SECONDS: Final = 5.0
"""How long an interrupted call may take to end: it may be writing."""

LOOK_UP_SECONDS: Final = 0.1
"""How often the main thread checks for signals while it waits: a system may deliver them to another thread."""

_Value = TypeVar("_Value")


def run_outside_main_thread(work: Callable[[], _Value], end: Callable[[], object] | None = None) -> _Value:
    """Return what `work` returns, done in another thread if this is the main one.

    An interrupt calls `end`, which makes `work` stop, and is raised when that has stopped; without `end` it is raised
    at once, and the work goes on alone.
    Raises: whatever `work` raises.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    done = _Done(work)
    try:
        _start(partial(copy_context().run, done.run))
        while not done.wait(LOOK_UP_SECONDS):
            pass
    except BaseException:
        if end is not None:
            end()
            done.wait(RELEASE_GRACE_SECONDS)
        raise
    return done.value()


class _Done(Generic[_Value]):
    """Work in another thread. Waiting uses a bare lock, which an interrupt cannot leave half acquired."""

    def __init__(self, work: Callable[[], _Value]) -> None:
        self._work = work
        self._values: list[_Value] = []
        self._errors: list[BaseException] = []
        self._is_done = threading.Lock()
        self._is_done.acquire()

    def run(self) -> None:
        """Do it."""
        try:
            self._values.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._errors.append(error)
        finally:
            self._is_done.release()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, at most for `seconds`; return whether it is."""
        return self._is_done.acquire(timeout=seconds)

    def value(self) -> _Value:
        """Return its value. Raises: what it raised."""
        if self._errors:
            raise self._errors.pop()
        return self._values.pop()


class _Thread:
    """A thread that waits for work, does it, and waits for more: starting one costs more than a small call."""

    def __init__(self) -> None:
        self._work: Callable[[], object] | None = None
        self._is_wanted = threading.Lock()
        self._is_wanted.acquire()
        _thread.start_new_thread(self._run, ())

    def take(self, work: Callable[[], object]) -> None:
        """Do `work`, which raises nothing."""
        self._work = work
        self._is_wanted.release()

    def _run(self) -> None:
        while True:
            self._is_wanted.acquire()
            work, self._work = self._work, None
            if work is not None:
                work()
            del work  # what it holds is the caller's model
            _idle.append(self)


_idle: deque[_Thread] = deque()
"""Threads that wait: one, unless interrupted work still runs. append and pop are atomic."""


def _start(work: Callable[[], object]) -> None:
    try:
        thread = _idle.pop()
    except IndexError:
        thread = _Thread()
    thread.take(work)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a fork has none of its parent's threads
