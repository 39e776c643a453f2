# ruff: noqa: PLR0913 - what a caller may ask is by keyword, one each
"""`Client`: the verbs, and how a call is carried out without an event loop."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar, runtime_checkable

from google.longrunning.operations_proto_pb2 import Operation
from google.protobuf.message import Message

from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome, result_of, whole_report
from pruning_client.calls.ranked_first import decided
from pruning_client.calls.request import (
    ALLOWANCE_SECONDS,
    Path,
    PruneOptions,
    PruneRequestSpec,
    Rules,
    request_of,
    request_of_file,
)
from pruning_client.calls.sent_statistics import explaining_missing, with_all_statistics, with_used_statistics
from pruning_client.calls.sinks import MemorySink, NoResultSink, Sink, Target, checking_free_space, open_files
from pruning_client.calls.unused_statistics import check_used
from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.checkpoints.state_dict import StateDict
from pruning_client.clients.base import PruneCall, SinkT, ValueT
from pruning_client.clients.jobs import Job, JobVerbs, MessageT, UnaryCall, list_call
from pruning_client.errors import JobError, PruningError, closed_error
from pruning_client.results.capabilities import Capabilities, capabilities_of
from pruning_client.results.output_format import Compression, Output, compression_of, format_of
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_client.results.result import Result
from pruning_client.statistics.statistics import Statistics
from pruning_client.transport.retry import Attempts
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb

POLL_SECONDS: Final = 0.1
"""How often a call that waits for its next attempt checks whether its client was closed."""

_Value = TypeVar("_Value")


class Connection(Protocol):
    """The way to a server: gRPC's, see `transport.sync_connection`, or one in the same process."""

    def prune(
        self, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None, attempts: Attempts
    ) -> Outcome:
        """Carry out one attempt of Prune. Raises: PruningError; whatever `write`, the source or `watcher` raise."""

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Carry out one attempt of GetCapabilities. Raises: PruningError."""

    def close(self) -> None:
        """Close it; running calls are cancelled."""


@runtime_checkable
class Asking(Protocol):
    """A connection to a server that carries out jobs, which one in the same process does not."""

    def ask(self, path: str, request: Message, answer: type[MessageT], attempts: Attempts) -> MessageT:
        """Carry out one attempt of a call with one message each way. Raises: PruningError."""


class Client(JobVerbs):
    """A pruning server, reached over gRPC. One may be used by many threads.

    `target` is "HOST:PORT" or "unix:/PATH", or several of them, among which calls take turns; connected to when first
    used. `tls` is True or a `Tls`, `token` a string or a function that returns one. Without TLS, only this machine is
    called, unless `insecure` is True. `timeout` is the seconds that each
    call may take, unless the call has its own, inf for no limit; None allows 30 s and one more for every 10 MB of the
    model. A call that failed because of the server or the network is tried again, whole, up to `retries` times within
    that time.

    Raises (every call): PruningError, see `errors` for its tree; OSError for files. TypeError or ValueError for what
    is not a state dict, path, rule or timeout at all, and after `close`. RuntimeError in a process forked from the
    client's.

    Example:
        >>> with Client("localhost:50051") as client:
        ...     result = client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5))
        >>> result.report.sparsity
        0.5
    """

    _closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; running calls are cancelled.

        Example:
            >>> client = Client("localhost:50051")
            >>> client.close()
        """
        self._closed = True
        if self._process.is_owner:
            self._connection.close()

    def prune(
        self,
        source: StateDict | Path | Checkpoint,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        statistics: Statistics | Path | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        compression: Compression | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Prune a state dict, or a safetensors file, into memory.

        `importance_scores` and `masks` map parameter names to tensors of the same shape, for rules with
        `importance_scores=True` and `custom_from_mask`. `statistics` are those of the layers' inputs, or the path of
        their file, for rules that rank or update by them; those that the rules use are sent, after a plan that says
        which; if they use none, the call is refused. Prior masks go in the state dict, as `w:mask_bits` of an earlier
        result or as torch's `w_orig` and `w_mask`. `seed` replaces the recipe's; without either one is drawn if a rule
        is random, and the report has it. `digests` asks for SHA-256 of what was sent and received, in the report.
        `canonical_zero`, for output "packed", writes -0.0 as +0.0, which takes less; `compression="zstd"` has it
        compressed as well. A packed file is unpacked and then pruned.

        Raises: PruningError, OSError, TypeError, ValueError, as all calls.
        Example:
            >>> result = client.prune({"fc1.weight": weight}, rules.n_of_m(2, 4))
            >>> result.state_dict["fc1.weight"].shape
            (8, 4)
        """
        self._check_usable()
        options = PruneOptions(
            output=format_of(output),
            seed=seed,
            digests=digests,
            canonical_zero=canonical_zero,
            compression=compression_of(compression),
            statistics=statistics,
        )
        prepare = partial(request_of, source, rules, options, importance_scores, masks)
        return self._run(PruneCall(prepare, _in_memory, _result, progress, timeout))

    def prune_file(
        self,
        source: Path | Checkpoint,
        target: Target,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        statistics: Statistics | Path | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        compression: Compression | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Prune a safetensors file into another, in little memory; `target` may be `source`.

        The target is written whole or not at all: after any failure it is as it was. `source` may also be the index of
        shards, or the `model_index.json` of a pipeline, whose tensors are then named COMPONENT.NAME.

        Raises: PruningError, OSError, TypeError, ValueError, as all calls; then nothing is written.
        Example:
            >>> client.prune_file("model.safetensors", "pruned.safetensors", rules.l1_unstructured(0.25))
            <Report: 25.00% of 48 selected weights pruned, 2 tensors>
        """
        self._check_usable()
        options = PruneOptions(
            output=format_of(output),
            seed=seed,
            digests=digests,
            canonical_zero=canonical_zero,
            compression=compression_of(compression),
            statistics=statistics,
        )
        prepare = partial(request_of_file, source, rules, options)
        watcher = checking_free_space(target, progress)
        return self._run(PruneCall(prepare, partial(open_files, target), _report, watcher, timeout))

    def dry_run(
        self,
        source: StateDict | Path | Checkpoint,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        statistics: Statistics | Path | None = None,
        digests: bool = False,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Return the report that `prune` would return, without its result: the model is sent and read.

        Raises: PruningError, OSError, TypeError, ValueError, as all calls.
        Example:
            >>> report = client.dry_run("model.safetensors", rules.l1_unstructured(0.5, scope="global"))
            >>> [(tensor.name, tensor.pruned) for tensor in report.tensors]
            [('fc1.weight', 12), ('fc2.weight', 12)]
        """
        self._check_usable()
        options = PruneOptions(output=pb.OUTPUT_FORM_REPORT, seed=seed, digests=digests, statistics=statistics)
        prepare = partial(request_of, source, rules, options, importance_scores, masks)
        return self._run(PruneCall(prepare, _nowhere, _report, progress, timeout))

    def plan(
        self,
        source: StateDict | Path | Checkpoint,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        statistics: Statistics | Path | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Return what `prune` would do and cost: which rules select which tensors. Only the header is sent.

        For rules that rank experts by their routers, these are sent, too, so that the plan has the experts.

        Raises: PruningError, OSError, TypeError, ValueError, as all calls.
        Example:
            >>> plan = client.plan("model.safetensors", rules.l1_unstructured(0.5))
            >>> [(tensor.name, tensor.not_selected) for tensor in plan.tensors]
            [('embeddings.weight', 'embedding'), ('fc1.bias', 'name'), ('fc1.weight', None), ('fc2.weight', None)]
        """
        self._check_usable()
        options = PruneOptions(output=pb.OUTPUT_FORM_PLAN, seed=seed, statistics=statistics)
        prepare = partial(request_of, source, rules, options, importance_scores, masks)
        return self._run(PruneCall(prepare, _nowhere, _plan, None, timeout))

    def scan(
        self,
        source: StateDict | Path | Checkpoint,
        rules: Rules,
        *,
        sparsities: Sequence[float] = (),
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        statistics: Statistics | Path | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Return the predicted error of each selected tensor over sparsity, as the `curve` of its report.

        Nothing is pruned, and amounts of the rules are ignored: each rule is looked at from the model as it is, at
        `sparsities`, above 0.0 and below 1.0; without any at 0.1 to 0.9. Predictions are exact for the inputs that the
        `statistics` are of; without `w:in_gram` or `w:inputs` they are weak (`CurvePoint.is_weak`). They compare
        amounts of one method; which layer should give how much, only an evaluation of the model tells.

        Raises: PruningError, OSError, TypeError, ValueError, as all calls.
        Example:
            >>> report = client.scan("model.safetensors", rules.l1_unstructured(0.5), sparsities=[0.25, 0.5])
            >>> [point.sparsity for point in report.tensors[0].curve]
            [0.25, 0.5]
        """
        self._check_usable()
        options = PruneOptions(
            output=pb.OUTPUT_FORM_SCAN, seed=seed, statistics=statistics, scan_sparsities=tuple(sparsities)
        )
        prepare = partial(request_of, source, rules, options, importance_scores, masks)
        return self._run(PruneCall(prepare, _nowhere, _report, progress, timeout))

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Return what the server offers: methods, output formats, dtypes, limits, devices, versions.

        Raises: PruningError.
        Example:
            >>> "removed" in client.capabilities().outputs
            True
        """
        self._check_usable()
        return self._ask_capabilities(self._attempts(timeout, ALLOWANCE_SECONDS))

    prune_checkpoint = JobVerbs.prune_checkpoint
    job = JobVerbs.job
    jobs = JobVerbs.jobs

    def _connect(self) -> None:
        from pruning_client.transport.sync_connection import GrpcConnection  # noqa: PLC0415 - imports gRPC

        self._connection: Connection = GrpcConnection(self._target, self._security)

    @property
    def _is_closed(self) -> bool:
        return self._closed

    def _run(self, call: PruneCall[SinkT, ValueT]) -> ValueT:
        """Carry out a call."""
        request = call.prepare()
        attempts = self._attempts(call.timeout, request.default_timeout)
        if request.statistics is not None:
            every = with_all_statistics(request)
            if request.is_plan:
                request = every
            else:
                with explaining_missing(request):
                    plan = self._repeat(partial(self._attempt, planning(every), every, attempts), attempts)
                request = with_used_statistics(request, plan)
        request = self._decided(request, attempts)
        return self._repeat(partial(self._attempt, call, request, attempts), attempts)

    def _decided(self, request: PruneRequestSpec, attempts: Attempts) -> PruneRequestSpec:
        """Return the request once the units are known that have to be ranked first."""
        steps = decided(request)
        try:
            asked = next(steps)
            while True:
                outcome = self._repeat(partial(self._attempt, asking(asked), asked, attempts), attempts)
                asked = steps.send(outcome)
        except StopIteration as end:
            found: PruneRequestSpec = end.value
            return found

    def _attempt(self, call: PruneCall[SinkT, ValueT], request: PruneRequestSpec, attempts: Attempts) -> ValueT:
        exchange = Exchange(request, attempts.number)
        with call.open_sink(exchange) as sink:
            outcome = self._connection.prune(exchange, sink.write, call.watcher, attempts)
        return call.value_of(request, outcome, sink)

    def _ask_capabilities(self, attempts: Attempts) -> Capabilities:
        return self._repeat(lambda: capabilities_of(self._connection.capabilities(attempts)), attempts)

    def _ask(self, call: UnaryCall[MessageT, _Value], timeout: float | None) -> _Value:
        """Return the value of a call with one message each way. Raises: PruningError."""
        attempts, connection = self._attempts_of_call(timeout), self._connection
        if not isinstance(connection, Asking):
            raise JobError("a job is carried out by a server; name one (--server HOST:PORT)")
        return call.value_of(
            self._repeat(lambda: connection.ask(call.path, call.request, call.answer, attempts), attempts)
        )

    def _all_jobs(self, timeout: float | None) -> list[Job]:
        jobs, token = [], ""
        while True:
            page = self._ask(list_call(token), timeout)
            jobs += [self._job(operation) for operation in page.operations]
            token = page.next_page_token
            if not token:
                return jobs

    def _job(self, operation: Operation) -> Job:
        return Job(self, operation)

    def _repeat(self, attempt: Callable[[], _Value], attempts: Attempts) -> _Value:
        while True:
            try:
                return attempt()
            except PruningError as error:
                seconds = self._wait_after(error, attempts)
            self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        """Wait, unless this client is closed meanwhile. No Event: an interrupt could leave its lock half acquired."""
        end = time.monotonic() + seconds
        while not self._closed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))
        if self._closed:
            raise closed_error(self._name)


def _in_memory(exchange: Exchange) -> nullcontext[MemorySink]:
    return nullcontext(MemorySink(exchange))


def _nowhere(_: Exchange) -> nullcontext[NoResultSink]:
    return nullcontext(NoResultSink())


def _result(request: PruneRequestSpec, outcome: Outcome, sink: MemorySink) -> Result:
    return result_of(request, outcome, sink.buffer)


def _report(request: PruneRequestSpec, outcome: Outcome, _sink: Sink) -> Report:
    return whole_report(request, outcome)


def _plan(request: PruneRequestSpec, outcome: Outcome, _sink: Sink) -> Plan:
    if request.skips_unused:
        check_used(request, outcome.plan)
    return outcome.plan.with_warnings(*request.warnings)


def _plan_before(_request: PruneRequestSpec, outcome: Outcome, _sink: Sink) -> Plan:
    return outcome.plan


def planning(request: PruneRequestSpec) -> PruneCall[NoResultSink, Plan]:
    """Return the plan with all statistics, which comes before a call that has some."""
    return PruneCall(lambda: request, _nowhere, _plan_before, None, None)


def _outcome(_request: PruneRequestSpec, outcome: Outcome, _sink: Sink) -> Outcome:
    return outcome


def asking(request: PruneRequestSpec) -> PruneCall[NoResultSink, Outcome]:
    """Return a call before the caller's own, of a plan or a report."""
    return PruneCall(lambda: request, _nowhere, _outcome, None, None)
