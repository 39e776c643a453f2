# ruff: noqa: PLR0913 - what a caller may ask is by keyword, one each
"""Jobs: checkpoints pruned by reference, by a server that reads from a store and writes there. The verbs, and `Job`."""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from google.longrunning import operations_proto_pb2 as lro
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pruning_client.calls.job_request import JobOptions, job_request
from pruning_client.calls.request import ALLOWANCE_SECONDS, Rules
from pruning_client.clients.base import ClientBase
from pruning_client.errors import DeadlineError, JobError, PruningError
from pruning_client.pages.shown import Shown, Summary
from pruning_client.results.job_status import JobStatus, State, job_status
from pruning_client.results.output_format import Compression, Output
from pruning_client.results.report import Report
from pruning_client.transport.retry import Attempts, check_timeout, is_passing
from pruning_proto.names import OPERATIONS, PRUNE_CHECKPOINT_PATH

JobWatcher: TypeAlias = Callable[[JobStatus], object]
"""Called with how a job is, about once a second."""

WATCHED_SECONDS: Final = 1.0
"""How long one call waits for a job that somebody watches."""

UNWATCHED_SECONDS: Final = 25.0
"""How long one call waits for a job otherwise: less than a proxy allows a call without messages."""

PATIENCE_SECONDS: Final = 300.0
"""How long `wait` goes on while no server answers."""

AWAY_SECONDS: Final = 2.0
"""Between two looks at a job while no server answers."""

MessageT = TypeVar("MessageT", bound=Message)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class UnaryCall(Generic[MessageT, ValueT]):
    """A call with one message each way: where it goes, what it sends, what answers, and what that is to the caller."""

    path: str
    request: Message
    answer: type[MessageT]
    value_of: Callable[[MessageT], ValueT]


class JobBase(Shown):
    """A job, as it was when it was last looked at."""

    def __init__(self, operation: lro.Operation) -> None:
        self._status = job_status(operation)

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: how it was when it was last looked at."""
        return self._status.summary

    @property
    def name(self) -> str:
        """The name that it was given."""
        return self._status.name

    @property
    def operation(self) -> str:
        """Its full name, which is unique on all servers of its stores."""
        return self._status.operation

    @property
    def status(self) -> JobStatus:
        """All that is known of it."""
        return self._status

    metadata = status

    @property
    def state(self) -> State:
        """Its state: pending, running, or, when it is done, succeeded, failed or cancelled."""
        return self._status.state

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._status.is_done

    @property
    def error(self) -> PruningError | None:
        """Why it ended without a result; None otherwise."""
        return self._status.error

    @property
    def report(self) -> Report:
        """What was done. Raises: its error, if it failed; JobError if it is not done."""
        if self._status.error is not None:
            raise self._status.error
        if self._status.report is None:
            raise JobError(f"the job {self.name} is {self.state}; its report is there when it has succeeded")
        return self._status.report


class Waiting:
    """How long `wait` waits, and how patient it is while no server answers."""

    def __init__(self, name: str, watcher: JobWatcher | None, timeout: float | None) -> None:
        """`timeout` in seconds; None: no limit. Raises: ValueError."""
        self._name = name
        self._watcher = watcher
        begin = self._answered = time.monotonic()
        self._end = None if timeout is None else begin + check_timeout(timeout)

    def request(self, operation: str) -> lro.WaitOperationRequest:
        """Return the next look. Raises: DeadlineError if the time is over."""
        seconds = UNWATCHED_SECONDS if self._watcher is None else WATCHED_SECONDS
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise DeadlineError(
                    f"the job {self._name} is not done yet; it goes on, wait for it with a longer timeout"
                )
            seconds = min(seconds, left)
        request = lro.WaitOperationRequest(name=operation)
        request.timeout.FromNanoseconds(int(seconds * 1e9))
        return request

    def answered(self, status: JobStatus) -> None:
        """Note an answer."""
        self._answered = time.monotonic()
        if self._watcher is not None:
            self._watcher(status)

    def pause_after(self, error: PruningError) -> float:
        """Return the seconds until the next look after no server answered. Raises: `error` if that is for good."""
        if not is_passing(error) or time.monotonic() - self._answered > PATIENCE_SECONDS:
            raise error
        return AWAY_SECONDS


class JobCalls(ClientBase):
    """What the verbs of jobs need of a client."""

    @abstractmethod
    def _ask(self, call: "UnaryCall[Any, ValueT]", timeout: float | None) -> Any:
        """Return the value of a call with one message each way, or a coroutine that does. Raises: PruningError."""

    @abstractmethod
    def _all_jobs(self, timeout: float | None) -> Any:
        """Return all jobs."""

    @abstractmethod
    def _job(self, operation: lro.Operation) -> Any:
        """Return the job of an operation."""

    def _attempts_of_call(self, timeout: float | None) -> Attempts:
        self._check_usable()
        return self._attempts(timeout, ALLOWANCE_SECONDS)


class JobVerbs(JobCalls):
    """The verbs of a client that are about jobs."""

    def prune_checkpoint(
        self,
        source: str,
        target: str,
        rules: Rules,
        *,
        name: str | None = None,
        output: Output = "pruned",
        seed: int | None = None,
        statistics: str | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        compression: Compression | None = None,
        max_shard_bytes: int | None = None,
        trim_tokenizer: bool = False,
        job_timeout: float | None = None,
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> "Job":
        """Have a server prune a checkpoint from a store into a store, and return the job at once.

        `source` and `target` are URIs (`s3://`, `gs://`, `az://`, `file://`) of a safetensors file or of a model's
        folder, as the server opens them; the target must not exist, and is there whole or not at all. The job goes on
        whatever becomes of this client. A call with the same `name` and the same request returns the same job; with
        another request JobError is raised (reason JOB_EXISTS). Without a name, one is drawn. `statistics` is the URI of
        their file. `job_timeout`: the seconds that the job may be under way. `labels` are the caller's own words.

        Raises: PruningError, TypeError, ValueError.
        Example:
            >>> rule = rules.l1_unstructured(0.5)
            >>> job = client.prune_checkpoint("s3://models/m", "s3://models/half", rule, name="half")
            >>> job.wait()
            <Report: 50.00% of 48 selected weights pruned, 2 tensors>
        """
        options = JobOptions(
            name=name,
            output=output,
            seed=seed,
            statistics=statistics,
            digests=digests,
            canonical_zero=canonical_zero,
            compression=compression,
            max_shard_bytes=max_shard_bytes,
            trim_tokenizer=trim_tokenizer,
            job_timeout=job_timeout,
            labels=labels or {},
        )
        request = job_request(source, target, rules, options)
        made: Job = self._ask(UnaryCall(PRUNE_CHECKPOINT_PATH, request, lro.Operation, self._job), timeout)
        return made

    def job(self, name: str, *, timeout: float | None = None) -> "Job":
        """Return a job by its name or its operation's. Raises: JobError if there is none that this caller may see.

        Example:
            >>> client.job("half")
            <Job: half, succeeded>
        """
        request = lro.GetOperationRequest(name=name)
        found: Job = self._ask(UnaryCall(_path("GetOperation"), request, lro.Operation, self._job), timeout)
        return found

    def jobs(self, *, timeout: float | None = None) -> "list[Job]":
        """Return all jobs that this caller may see, by name; their reports are without tensors.

        Raises: PruningError.
        Example:
            >>> client.jobs()
            [<Job: half, succeeded>]
        """
        found: list[Job] = self._all_jobs(timeout)
        return found


class Job(JobBase):
    """A job of a `Client`. Its properties are as it was last looked at; the verbs ask a server.

    Raises (every verb): PruningError.
    Example:
        >>> job = client.job("half")
        >>> job.state
        'succeeded'
    """

    def __init__(self, client: JobVerbs, operation: lro.Operation) -> None:
        super().__init__(operation)
        self._client = client

    def refresh(self, *, timeout: float | None = None) -> Self:
        """Look at it again.

        Raises: JobError if it was deleted.
        Example:
            >>> client.job("half").refresh()
            <Job: half, succeeded>
        """
        self._status = self._client._ask(get_call(self.operation), timeout)
        return self

    def wait(self, progress: JobWatcher | None = None, *, timeout: float | None = None) -> Report:
        """Wait until it is done, and return its report.

        `progress` is called with its status about once a second. `timeout` in seconds: None, no limit. While no server
        answers, this goes on for five minutes.
        Raises: why the job ended without a result. DeadlineError if it is not done in time; it goes on.
        Example:
            >>> client.job("half").wait(timeout=60).sparsity
            0.5
        """
        waiting = Waiting(self.name, progress, timeout)
        while not self.is_done:
            call = wait_call(waiting.request(self.operation))
            try:
                self._status = self._client._ask(call, None)
            except PruningError as error:
                time.sleep(waiting.pause_after(error))
            else:
                waiting.answered(self._status)
        return self.report

    def cancel(self, *, timeout: float | None = None) -> None:
        """Have it cancelled: it will be, within seconds, and nothing stays of its result. One that is done stays so.

        Raises: JobError if there is no such job.
        Example:
            >>> client.job("half").cancel()  # it has succeeded, and stays so
        """
        self._client._ask(cancel_call(self.operation), timeout)

    def delete(self, *, timeout: float | None = None) -> None:
        """Delete what the store keeps of it; its result stays. Raises: JobError if it is not done.

        Example:
            >>> client.job("half").delete()
            >>> client.jobs()
            []
        """
        self._client._ask(delete_call(self.operation), timeout)


def get_call(operation: str) -> "UnaryCall[lro.Operation, JobStatus]":
    """Return the call that looks at a job."""
    return UnaryCall(_path("GetOperation"), lro.GetOperationRequest(name=operation), lro.Operation, job_status)


def wait_call(request: lro.WaitOperationRequest) -> "UnaryCall[lro.Operation, JobStatus]":
    """Return the call that waits for a job."""
    return UnaryCall(_path("WaitOperation"), request, lro.Operation, job_status)


def list_call(page_token: str) -> "UnaryCall[lro.ListOperationsResponse, lro.ListOperationsResponse]":
    """Return the call for a page of all jobs."""
    request = lro.ListOperationsRequest(page_token=page_token)
    return UnaryCall(_path("ListOperations"), request, lro.ListOperationsResponse, _same)


def cancel_call(operation: str) -> "UnaryCall[Empty, Empty]":
    """Return the call that has a job cancelled."""
    return UnaryCall(_path("CancelOperation"), lro.CancelOperationRequest(name=operation), Empty, _same)


def delete_call(operation: str) -> "UnaryCall[Empty, Empty]":
    """Return the call that deletes a job."""
    return UnaryCall(_path("DeleteOperation"), lro.DeleteOperationRequest(name=operation), Empty, _same)


def _path(method: str) -> str:
    return f"/{OPERATIONS}/{method}"


def _same(answer: MessageT) -> MessageT:
    return answer
