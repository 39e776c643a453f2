"""Threads of the engine's own: a handful per process, started when first needed.

numpy releases the interpreter's lock inside its loops, so pieces of a tensor run side by side. Results do not depend
on the number of threads: they come back in the order of the items.

Long calls matter more than small buffers: a thread that waits for the interpreter's lock takes longer to wake up than a
short call takes, so that pieces small enough for the second-level cache leave one of two cores idle.
"""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pruning_engine.runtime.yield_points import time_slice, with_yields, yield_now, yielding

Item = TypeVar("Item")
Result = TypeVar("Result")

PIECE_ENTRIES: Final = 1 << 20
"""Entries of one piece: enough that each numpy call on it takes longer than waking a thread."""


@dataclass(slots=True)
class _Pool:
    """The threads of this process; a fork starts with none."""

    count: int = max(1, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor: ThreadPoolExecutor | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Inside(threading.local):
    """Whether this thread works on an item: what it calls in turn stays on this thread."""

    busy = False


_pool = _Pool()
_inside = _Inside()


def set_threads(count: int) -> None:
    """Set the number of threads, the caller's included. The default is the cores that this process may use.

    Raises: ValueError if `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"the engine needs at least one thread, got {count}")
    with _pool.lock:
        if count != _pool.count and _pool.executor is not None:
            _pool.executor.shutdown(wait=False)  # what it has begun it finishes
            _pool.executor = None
        _pool.count = count


def get_threads() -> int:
    """Return the number of threads in use, the caller's included."""
    return _pool.count


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call `function` on each item; return the results in the items' order. Yields between items, see yield_points.py.

    Raises: what `function` raised, of several calls that of the first item. Items after one that failed may be left.
    """
    if _inside.busy:
        return [function(item) for item in items]
    workers = min(_pool.count, len(items))
    if workers <= 1:
        return [function(item) for item in with_yields(items)]
    results: list[Result] = []
    while len(results) < len(items):
        results += _side_by_side(function, items, len(results), workers)
        yield_now()
    return results


def _side_by_side(function: Callable[[Item], Result], items: Sequence[Item], begin: int, workers: int) -> list[Result]:
    """Call `function` on items from `begin` until the next yield is due; return their results, one at least."""
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    numbers = itertools.count(begin)  # its next() is atomic under the interpreter's lock
    now = time_slice()
    end = len(items) if now.pieces is None else min(len(items), begin + now.pieces * workers)

    def work() -> None:
        _inside.busy = True
        try:
            while not errors and (number := next(numbers)) < end:
                try:
                    results[number] = function(items[number])
                except BaseException as error:  # noqa: BLE001 - raised again below, on the caller's thread
                    errors[number] = error
                if now.is_over:  # asked after an item, so that whoever took a number has computed it
                    return
        finally:
            _inside.busy = False

    others = _submit(work, workers - 1)
    with yielding(None):  # while others compute for this call
        work()
    for other in others:
        if not other.cancel():  # a thread that has not begun is not waited for
            other.result()
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(begin, begin + len(results))]


def _submit(work: Callable[[], None], times: int) -> list[Future[None]]:
    """Offer work to threads. Where none can be started, it waits in the queue, and the caller does all of it."""
    offers: list[Future[None]] = [Future() for _ in range(times)]
    with _pool.lock:
        executor = _executor()
        for offer in offers:
            with suppress(RuntimeError):  # the executor's own future would be lost, and its work done by somebody
                executor.submit(_take, offer, work)
    return offers


def _take(offer: Future[None], work: Callable[[], None]) -> None:
    """Do what was offered, unless the offer was cancelled meanwhile."""
    if offer.set_running_or_notify_cancel():
        try:
            work()
        finally:
            offer.set_result(None)


def _executor() -> ThreadPoolExecutor:
    if _pool.executor is None:
        _pool.executor = ThreadPoolExecutor(max(1, _pool.count - 1), thread_name_prefix="pruning")
    return _pool.executor


def _forget_parents_threads() -> None:
    _pool.executor, _pool.lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_threads)
