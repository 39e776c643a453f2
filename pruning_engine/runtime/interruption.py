"""Code that is not the engine's, ended from another thread while it runs: installed methods have no yield points.

Python raises an exception in a thread that another one asked for, at the next of its instructions. So Python code and
series of torch's operations end at once; one operation in C, such as a singular value decomposition, ends first. The
engine's own code is never interrupted: it has places at which nothing is half written, see yield_points.py.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class InterruptedWorkError(BaseException):
    """Foreign code was ended. Not an `Exception`, which that code may catch."""


class Interruption:
    """Ends the foreign code of one unit of work, once: what runs when `interrupt` is called, or would run later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._is_asked = False

    def interrupt(self) -> None:
        """End the foreign code that runs now, and begin no other. From any thread."""
        with self._lock:
            if not self._is_asked and self._thread is not None:
                _raise_in(self._thread, InterruptedWorkError)
            self._is_asked = True

    def run(self, function: Callable[[], Result]) -> Result:
        """Call foreign code. Raises: InterruptedWorkError if it was interrupted; what `function` raises."""
        with self._lock:
            if self._is_asked:
                raise InterruptedWorkError
            self._thread = threading.get_ident()
        try:
            return function()
        finally:
            self._end()

    def _end(self) -> None:
        """From here on nothing is raised in this thread; what is under way is raised here."""
        with self._lock:
            thread, self._thread = self._thread, None
            is_asked = self._is_asked
        if is_asked and thread is not None:
            _raise_in(thread, None)  # if it has not come yet
            raise InterruptedWorkError


class _Current(threading.local):
    """What interrupts the foreign code of this thread, if anything."""

    interruption: Interruption | None = None


_current = _Current()


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Let foreign code that this thread calls inside be interrupted."""
    before, _current.interruption = _current.interruption, interruption
    try:
        yield
    finally:
        _current.interruption = before


def run_foreign(function: Callable[[], Result]) -> Result:
    """Call code that is not the engine's. Raises: InterruptedWorkError, inside `interruptible`; what it raises."""
    interruption = _current.interruption
    return function() if interruption is None else interruption.run(function)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Have an exception raised in a thread; None: take back what was not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
