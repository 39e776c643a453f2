"""What a task and an executor are, and many tasks carried out by one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

_WAIT_SECONDS: Final = 0.5
"""The longest wait without a look at signals: one that this process sends itself does not end a wait for a lock."""


class Task(Protocol):
    """A piece of a job, which can be pickled. Carried out twice it has the same result, also if once only in part."""

    @property
    def name(self) -> str:
        """What it does, for messages."""

    @property
    def memory_bytes(self) -> int:
        """The most memory that it takes beside what a process has anyway."""

    def run(self) -> bytes:
        """Carry it out; return what the others have to know. Raises: whatever ends the job."""


class Executor(Protocol):
    """Carries out tasks; a context manager, which cancels what is under way at its end."""

    @property
    def most_in_flight(self) -> int:
        """How many tasks keep it busy; more would only wait in it."""

    @property
    def threads(self) -> int | None:
        """The threads that a task may compute with; None: those of the settings."""

    def submit(self, task: Task) -> "Future[bytes]":
        """Begin a task, and return its result to be.

        That raises: what the task raises. UnavailableError if the task was lost too often. CancelledError.
        """

    def cancel(self) -> None:
        """Cancel all tasks under way; return when each has ended, or its process is being ended."""

    def __enter__(self) -> Self:
        """Be ready for tasks. Raises: UnavailableError."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel, and close."""


_AnyTask = TypeVar("_AnyTask", bound=Task)


def finished(executor: Executor, tasks: Iterable[_AnyTask]) -> Iterator[tuple[_AnyTask, bytes]]:
    """Yield tasks and their results, in the order in which they finish; each is begun when there is a place for it.

    Closing the iterator, and any error, cancels the tasks under way; no further one is begun.
    Raises: what the first task that fails raises; see `Executor.submit`.
    """
    waiting = iter(tasks)
    running: dict[Future[bytes], _AnyTask] = {}
    try:
        while True:
            for task in islice(waiting, max(1 - len(running), executor.most_in_flight - len(running), 0)):
                running[executor.submit(task)] = task
            if not running:
                return
            for future in wait(running, _WAIT_SECONDS, FIRST_COMPLETED).done:
                task = running.pop(future)
                yield task, future.result()
    finally:
        if running:
            executor.cancel()
