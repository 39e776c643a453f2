"""The client of a job: its calls are divided where they can be, and the job's progress has their plan and bytes."""

from collections.abc import Callable
from typing import Final

from pruning_client.calls.exchange import Exchange, Progress, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.clients.sync import Connection
from pruning_client.jobs.divided.client import DividedClient
from pruning_client.jobs.divided.connection import DividedRun
from pruning_client.jobs.progress import JobProgress
from pruning_client.results.plan import Plan
from pruning_client.transport.retry import Attempts
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb

_UNDIVIDED: Final = ("planning", "reading")
"""Steps of a call that is not divided, and of any before its plan; those of a divided one have other names."""


class JobClient(DividedClient):
    """A `DividedClient` that reports to a job's progress."""

    def __init__(self, run: DividedRun, progress: JobProgress) -> None:
        self._progress = progress
        super().__init__(run)

    def _connect(self) -> None:
        super()._connect()
        self._connection = _WatchedConnection(self._connection, self._progress)


class _WatchedConnection:
    """A connection of which each call is seen."""

    def __init__(self, connection: Connection, progress: JobProgress) -> None:
        self._connection = connection
        self._progress = progress

    def prune(
        self, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None, attempts: Attempts
    ) -> Outcome:
        """Carry out a call, and note how far it is."""

        def watch(progress: Progress) -> None:
            if exchange.plan is not None and not is_planned:
                is_planned.append(True)
                self._progress.planned(_summary(exchange.plan))
            self._progress.counted(read_bytes=progress.sent_bytes, written_bytes=progress.received_bytes)
            if self._progress.current in _UNDIVIDED:
                self._progress.go_on("writing" if progress.received_bytes else "reading")
            if watcher is not None:
                watcher(progress)

        is_planned: list[bool] = []
        return self._connection.prune(exchange, write, watch, attempts)

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Return what is offered."""
        return self._connection.capabilities(attempts)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _summary(plan: Plan) -> pb.PlanSummary:
    return pb.PlanSummary(
        tensors=len(plan.tensors),
        selected_tensors=sum(bool(tensor.rules) for tensor in plan.tensors),
        peak_bytes=plan.peak_bytes,
        result_bytes=plan.result_bytes,
        seed=plan.seed,
        device=plan.device,
    )
