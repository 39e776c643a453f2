"""The executor of a Ray cluster: every task is one of Ray's, with a core and its memory."""

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

import ray

from pruning_client.errors import UnavailableError
from pruning_client.jobs.executors.executor import Task
from pruning_client.jobs.executors.on_worker import carry_out, packed_task, result_of
from pruning_client.jobs.executors.ray_connection import connected

LOSSES: Final = 8
"""How often a task is begun again because its process or its machine was lost, before the job fails."""

WORKER_BYTES: Final = 256 * 1024 * 1024
"""What a worker process takes beside the memory of its task: Python, numpy, buffers of the connections."""

_TASKS_PER_CORE: Final = 2
"""In flight: one that runs, and one that is on its way."""

_LEAST_IN_FLIGHT: Final = 32
"""So that a cluster that grows with what waits does grow."""

_GRACE_SECONDS: Final = 5.0
"""How long a cancelled task may take to end by itself, and to give up what it has half written."""

_LOG: Final = logging.getLogger("pruning_client.jobs.ray")


class RayExecutor:
    """Carries out tasks on a Ray cluster.

    Each has one core, and as much of a node's memory as it says, but no more than the largest node with cores has: a
    task that asks for more than there is would wait for ever.
    """

    threads: Final = 1

    def __init__(self, address: str | None) -> None:
        """`address`: of the cluster; None: one is started on this machine."""
        self._address = address
        self._stack = ExitStack()
        self._running: dict[Future[bytes], Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._stack.enter_context(connected(self._address))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            self.cancel()

    @property
    def most_in_flight(self) -> int:
        """Two for each core of the cluster, as it is now."""
        return max(_LEAST_IN_FLIGHT, _TASKS_PER_CORE * int(ray.cluster_resources().get("CPU", 0)))

    def submit(self, task: Task) -> "Future[bytes]":
        """Begin a task; see `Executor.submit`."""
        remote = ray.remote(carry_out).options(
            name=task.name,
            num_cpus=self.threads,
            memory=_memory_of(task, ray.nodes()),
            max_retries=LOSSES,
            retry_exceptions=False,
        )
        reference = remote.remote(packed_task(task))
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._running[future] = reference

        def settle(outcome: "Future[tuple[bool, bytes]]") -> None:
            with self._lock:
                self._running.pop(future, None)
            _settle(future, outcome, task.name)

        reference.future().add_done_callback(settle)
        return future

    def cancel(self) -> None:
        """Interrupt all tasks under way, and end the processes of those that go on nevertheless."""
        for force in (False, True):
            with self._lock:
                references = list(self._running.values())
            for reference in references:
                _cancel(reference, force=force)
            if not references or not ray.wait(references, num_returns=len(references), timeout=_GRACE_SECONDS)[1]:
                return


def _settle(future: "Future[bytes]", outcome: "Future[tuple[bool, bytes]]", name: str) -> None:
    try:
        future.set_result(result_of(outcome.result()))
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        future.set_exception(_translated(error, name))


def _translated(error: BaseException, name: str) -> BaseException:
    """Return an error of Ray itself as one of this package; others as they are."""
    if isinstance(error, ray.exceptions.TaskCancelledError):
        return CancelledError()
    if not isinstance(error, ray.exceptions.RayError):
        return error
    match error:
        case ray.exceptions.RayTaskError():  # a task reports its own errors: this one is of unpickling `carry_out`
            what = "cannot be carried out by the workers of the Ray cluster"
        case ray.exceptions.OutOfMemoryError():
            what = "was ended because its Ray node had no memory left"
        case _:
            what = f"was lost with its Ray worker {LOSSES + 1} times"
    found = UnavailableError(f"{name} {what}: {_last_line(error)}")
    found.__cause__ = error
    return found


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _cancel(reference: Any, *, force: bool) -> None:
    try:
        ray.cancel(reference, force=force)
    except ray.exceptions.RayError as error:
        _LOG.info("a task was not cancelled: %s", error)


def _memory_of(task: Task, nodes: list[Mapping[str, Any]]) -> int:
    """Return the bytes that a task asks for."""
    wanted = task.memory_bytes + WORKER_BYTES
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    there = [int(each.get("memory", 0)) for each in resources if each.get("CPU", 0) >= RayExecutor.threads]
    return min(wanted, max(there, default=0) or wanted)
