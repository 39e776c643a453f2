"""The executor of this process: one task after the other, each with all threads of the engine."""

from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

from pruning_client.jobs.executors.executor import Task


class LocalExecutor:
    """Carries out a task when it is submitted, on the thread that submits it, where an interrupt ends it."""

    most_in_flight: Final = 1
    threads: Final = None

    def submit(self, task: Task) -> "Future[bytes]":
        """Carry out a task. Raises: KeyboardInterrupt, SystemExit; errors of the task are in what is returned."""
        future: Future[bytes] = Future()
        try:
            future.set_result(task.run())
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for, as by other executors
            future.set_exception(error)
        return future

    def cancel(self) -> None:
        """Do nothing: no task is under way after `submit`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing."""
