"""Threads of the engine's own: a handful per process, started when first needed.

numpy releases the interpreter's lock inside its loops, so pieces of a tensor run side by side. What is computed
never hangs on how many threads there are: results come back in the order of the items.

Long calls matter more than small buffers: a thread that waits for the interpreter's lock takes longer to wake up than a
short call takes, so that pieces small enough for the second-level cache leave one of two cores idle.
"""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Pool:
    """The threads of this process; a fork starts with none."""

    count: int = max(1, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor: ThreadPoolExecutor | None = None
    owner: int = field(default_factory=os.getpid)


class _Inside(threading.local):
    """Whether this thread works on an item: what it calls in turn stays on this thread."""

    busy = False


_pool = _Pool()
_inside = _Inside()


def set_threads(count: int) -> None:
    """Use so many threads from now on, the caller's included. The default is the cores this process may use.

    Raises: ValueError if `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"the engine needs at least one thread, got {count}")
    if count != _pool.count and _pool.executor is not None:
        _pool.executor.shutdown(wait=True)
        _pool.executor = None
    _pool.count = count


def get_threads() -> int:
    """Give how many threads are in use, the caller's included."""
    return _pool.count


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call `function` on each item; give the results in the items' order.

    Raises: what `function` raised first, by the items' order among the calls that ran.
    """
    workers = 1 if _inside.busy else min(_pool.count, len(items))
    if workers <= 1:
        return [function(item) for item in items]
    results: dict[int, Result] = {}
    numbers = itertools.count()  # its next() is atomic under the interpreter's lock

    def work() -> None:
        _inside.busy = True
        try:
            while (number := next(numbers)) < len(items):
                results[number] = function(items[number])
        finally:
            _inside.busy = False

    others = [_executor().submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error
    return [results[number] for number in range(len(items))]


def _executor() -> ThreadPoolExecutor:
    if _pool.executor is None or _pool.owner != os.getpid():
        _pool.executor = ThreadPoolExecutor(max(1, _pool.count - 1), thread_name_prefix="pruning")
        _pool.owner = os.getpid()
    return _pool.executor
