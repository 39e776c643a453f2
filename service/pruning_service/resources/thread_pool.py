"""A pool of threads that end at rest: an idle thread keeps memory, and a pool of Python's keeps every thread it began.

What a thread keeps: its stack, and hundreds of freed blocks in glibc's cache of that thread (tcache). Each block keeps
a page of the heap that could be returned otherwise.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class ThreadPool:
    """Up to `count` threads, begun when work needs them. Its methods are called on one thread: the event loop's."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._executor = self._new_executor()

    def submit(self, work: Callable[[], Result], abandoned: threading.Event) -> Future[Result]:
        """Submit work to a thread. Raises: RuntimeError if none can be started; the work is `abandoned` then.

        It stays in the queue all the same: a thread that is free later would do it, for nobody.
        """
        try:
            return self._executor.submit(work)
        except RuntimeError:
            abandoned.set()
            raise

    def end_idle_threads(self) -> None:
        """Have today's threads end, each once it has nothing to do; work to come begins new ones."""
        self._executor.shutdown(wait=False)
        self._executor = self._new_executor()

    def close(self) -> None:
        """End the threads once what has begun is done."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
