"""How a job is, and how it ended: what its operation says, as frozen values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from google.longrunning.operations_proto_pb2 import Operation

from pruning_client.errors import ProtocolError, PruningError
from pruning_client.errors.from_server import from_rpc_status
from pruning_client.pages.shown import Shown, Summary
from pruning_client.results.report import Report, report_of
from pruning_proto.v1 import pruning_pb2 as pb

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]

_PREFIX: Final = "JOB_STATE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What a job will do. Units: bytes; `readings` of the whole source, the one that writes included, 0 if unknown."""

    tensors: int
    selected_tensors: int
    peak_bytes: int
    result_bytes: int | None
    seed: int
    device: str
    readings: float


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobStatus(Shown):
    """A job as a server described it.

    `operation` is its full name, `name` the one that it was given. `step` is a word for what it does now. `read_bytes`
    and `written_bytes` are those of the current attempt, `shards_done` of `shards_total` result files are complete.
    `worker` is the process that carries it out, `attempt` how often it was begun, `last_error` why that was not enough.
    `step_seconds` are those that it took so far. Once it is done it has a `report`, or an `error`. `is_shortened`: the
    report has no tensors here, because there are too many for one message.

    Example:
        >>> def watch(status: JobStatus) -> None:
        ...     print(status.state, status.read_bytes)
    """

    operation: str
    name: str
    state: State
    step: str
    read_bytes: int
    written_bytes: int
    shards_done: int
    shards_total: int
    plan: JobPlan | None
    worker: str
    attempt: int
    last_error: str
    created: datetime | None
    started: datetime | None
    updated: datetime | None
    ended: datetime | None
    source: str
    target: str
    labels: Mapping[str, str]
    is_cancelling: bool
    step_seconds: Mapping[str, float]
    is_shortened: bool = False
    report: Report | None = None
    error: PruningError | None = None

    @property
    def is_done(self) -> bool:
        """Whether this is how it ended."""
        return self.report is not None or self.error is not None

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: one row."""
        shards = f"{self.shards_done} of {self.shards_total}" if self.shards_total else None
        row = {
            "job": self.name,
            "state": "cancelling" if self.is_cancelling and not self.is_done else self.state,
            "step": self.step or None,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "shards": shards,
            "source": self.source,
            "target": self.target,
            "error": None if self.error is None else str(self.error),
        }
        return Summary(f"{self.name}, {row['state']}", [row])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it."""
        described = {name: getattr(self, name) for name in self.__slots__ if name not in ("plan", "report", "error")}
        return {
            **{name: value.isoformat() if isinstance(value, datetime) else value for name, value in described.items()},
            "labels": dict(self.labels),
            "step_seconds": dict(self.step_seconds),
            "plan": None if self.plan is None else asdict(self.plan) | {"seed": str(self.plan.seed)},
            "report": None if self.report is None else self.report.to_dict(),
            "error": None if self.error is None else {"reason": self.error.reason, "message": str(self.error)},
        }


def job_status(operation: Operation) -> JobStatus:
    """Return what an operation says. Raises: ProtocolError if it is not one of PruneCheckpoint."""
    metadata, response = pb.PruneCheckpointMetadata(), pb.PruneCheckpointResponse()
    if not operation.metadata.Unpack(metadata):
        raise ProtocolError(
            f"{operation.name} is not a job: its metadata are {operation.metadata.type_url or 'missing'}"
        )
    result = operation.WhichOneof("result") if operation.done else None
    if result == "response" and not operation.response.Unpack(response):
        raise ProtocolError(f"{operation.name} is not a job: its response is {operation.response.type_url}")
    return JobStatus(
        operation=operation.name,
        state=cast("State", pb.JobState.Name(metadata.state).removeprefix(_PREFIX).lower()),
        created=_time(metadata, "create_time"),
        started=_time(metadata, "start_time"),
        updated=_time(metadata, "update_time"),
        ended=_time(metadata, "end_time"),
        plan=_plan(metadata.plan) if metadata.HasField("plan") else None,
        labels=dict(metadata.labels),
        step_seconds=dict(metadata.step_seconds),
        report=report_of([response.report]) if result == "response" else None,
        is_shortened=response.is_shortened,
        error=from_rpc_status(operation.error) if result == "error" else None,
        **{name: getattr(metadata, name) for name in _ALIKE},
    )


_ALIKE: Final = (
    *("name", "step", "read_bytes", "written_bytes", "shards_done", "shards_total", "worker", "attempt", "last_error"),
    *("source", "target", "is_cancelling"),
)
"""Fields of the metadata that are values of the same name."""


def _time(metadata: pb.PruneCheckpointMetadata, name: str) -> datetime | None:
    moment: datetime = getattr(metadata, name).ToDatetime(UTC)
    return moment if metadata.HasField(name) else None


def _plan(plan: pb.PlanSummary) -> JobPlan:
    return JobPlan(
        tensors=plan.tensors,
        selected_tensors=plan.selected_tensors,
        peak_bytes=plan.peak_bytes,
        result_bytes=plan.result_bytes if plan.HasField("result_bytes") else None,
        seed=plan.seed,
        device=plan.device,
        readings=plan.readings,
    )
