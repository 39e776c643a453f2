# ruff: noqa: PLR0913 - what a caller may ask is by keyword, one each
"""The client: `Client`, a thin shell around `exchange`. No torch, no numpy; their tensors are met in `frameworks`."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc

from pruning_client.calls.exchange import (
    ALLOWANCE_SECONDS,
    Exchange,
    Outcome,
    PruneRequestSpec,
    Rules,
    Watcher,
)
from pruning_client.calls.request import NoResultSink, Path, Sink, asked, asked_of_file, result_of, whole_report
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.memory import Block
from pruning_client.checkpoints.state_dict import StateDict
from pruning_client.clients.forks import ProcessGuard
from pruning_client.errors import PruningError, closed_error
from pruning_client.errors.from_server import from_status
from pruning_client.results.capabilities import Capabilities, capabilities_of
from pruning_client.results.output_form import Output, form_of
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_client.results.result import Result
from pruning_client.transport import retry, timeouts
from pruning_client.transport.channel import Target, name_of, open_channel
from pruning_client.transport.credentials import Tls, Token, security_of
from pruning_client.transport.main_thread import run_outside_main_thread
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_stream import converse
from pruning_proto.framing import decode_response, encode
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

LOOK_SECONDS: Final = 0.1
"""How often a call that waits for its next attempt looks whether its client was closed."""

_Value = TypeVar("_Value")
_Sink = TypeVar("_Sink", bound=Sink)


class Client:
    """A pruning server, reached over gRPC. One may be used by many threads.

    `target` is "HOST:PORT" or "unix:/PATH", or several of them, among whom calls take turns; connected to when first
    used. `tls` is True or a `Tls`, `token` a string or what gives one. `timeout` is the seconds that each call may
    take, unless the call says otherwise, inf for no end; None allows 30 s and one more for every 10 MB of the model.
    A call that a server or the way to it failed is tried again, whole, up to `retries` times within that time.

    Raises (every call): PruningError, see `errors` for its tree; OSError for files. TypeError or ValueError for what is
    no state dict, path, rule or timeout at all, and after `close`. RuntimeError in a process forked from the client's.
    Example:
        with Client("localhost:50051") as client:
            result = client.prune(model.state_dict(), rules.l1_unstructured(0.5))
        model.load_state_dict(result.state_dict)
    """

    def __init__(
        self,
        target: Target,
        *,
        tls: Tls | bool | None = None,
        token: Token | None = None,
        timeout: float | None = None,
        retries: int = retry.RETRIES,
    ) -> None:
        self._name = name_of(target)
        self._timeout = timeout if timeout is None else timeouts.check(timeout)
        self._retries = retry.check(retries)
        self._security = security_of(tls, token)
        self._birthplace = ProcessGuard()
        self._is_closed = False
        self._channel = open_channel(target, self._security)
        self._prune = self._channel.stream_stream(PRUNE_PATH, encode, decode_response)
        self._get_capabilities = self._channel.unary_unary(
            GET_CAPABILITIES_PATH,
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; calls that run are cancelled."""
        self._is_closed = True
        if self._birthplace.is_owner:
            self._channel.close()

    def prune(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Prune a state dict, or a safetensors file, into memory.

        `importance_scores` and `masks` map parameter names to tensors of the same shape, for rules with
        `importance_scores=True` and `custom_from_mask`. Prior masks go in the state dict, as `w:mask_bits` of an
        earlier result or as torch's `w_orig` and `w_mask`. `seed` replaces the recipe's; without either one is
        drawn if a rule is random, and the report tells it. `digests` asks for SHA-256 of what came and went, in the
        report. `canonical_zero`, for output "packed", writes -0.0 as +0.0, which takes less. A packed file is pruned
        as what it was made of.
        """
        self._check_usable()
        what = asked(source, rules, form_of(output), seed, importance_scores, masks, digests, canonical_zero)
        outcome, block = self._run(what, lambda exchange: nullcontext(Block(exchange)), progress, timeout)
        return result_of(what, outcome, block)

    def prune_file(
        self,
        source: Path,
        target: Path,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Prune a safetensors file into another, in little memory; `target` may be `source`.

        The target is written whole or not at all: on any failure it is as it was.
        """
        self._check_usable()
        what = asked_of_file(source, rules, form_of(output), seed, digests, canonical_zero)
        outcome, _ = self._run(what, lambda _: replacing(target), progress, timeout)
        return whole_report(outcome)

    def dry_run(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        digests: bool = False,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Give the report that `prune` would give, without its result: the model is sent and read."""
        self._check_usable()
        what = asked(source, rules, pb.OUTPUT_FORM_REPORT, seed, importance_scores, masks, digests)
        outcome, _ = self._run(what, lambda _: nullcontext(NoResultSink()), progress, timeout)
        return whole_report(outcome)

    def plan(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Give what `prune` would do and cost: which rules select which tensors. Only the header is sent."""
        self._check_usable()
        what = asked(source, rules, pb.OUTPUT_FORM_PLAN, seed, importance_scores, masks)
        outcome, _ = self._run(what, lambda _: nullcontext(NoResultSink()), None, timeout)
        return outcome.plan

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Give what the server offers: methods, forms, dtypes, limits, devices, versions."""

        def attempt(attempts: Attempts) -> Capabilities:
            request = pb.GetCapabilitiesRequest()
            metadata = self._security.metadata()  # may take its time, which is the call's
            ask = partial(self._get_capabilities, request, timeout=attempts.seconds_left, metadata=metadata)
            try:
                response = run_outside_main_thread(partial(self._unless_closed, ask))
            except grpc.RpcError as error:
                raise from_status(error, self._name, is_tls=self._security.is_tls) from error
            return capabilities_of(response)

        self._check_usable()
        return self._repeat(attempt, timeouts.deadline(timeout, self._timeout, ALLOWANCE_SECONDS))

    def _run(
        self,
        what: PruneRequestSpec,
        landing: Callable[[Exchange], AbstractContextManager[_Sink]],
        progress: Watcher | None,
        timeout: float | None,
    ) -> tuple[Outcome, _Sink]:
        """Give what a call gave and where its result's bytes are: in a sink of `landing`, a new one each attempt."""

        def attempt(attempts: Attempts) -> tuple[Outcome, _Sink]:
            exchange = Exchange(what, attempts.number)
            with landing(exchange) as sink:
                self._converse(exchange, sink, progress, attempts)
                return exchange.finish(), sink

        return self._repeat(attempt, timeouts.deadline(timeout, self._timeout, what.default_timeout))

    def _converse(self, exchange: Exchange, sink: Sink, progress: Watcher | None, attempts: Attempts) -> None:
        metadata = self._security.metadata()  # may take its time, which is the call's
        begin = partial(self._prune, timeout=attempts.seconds_left, metadata=metadata)
        try:
            converse(partial(self._unless_closed, begin), exchange, sink.write, progress)
        except grpc.RpcError as error:
            sent_bytes = exchange.sent_bytes if exchange.is_answered else None
            raise from_status(error, self._name, sent_bytes, is_tls=self._security.is_tls) from error

    def _unless_closed(self, begin: Callable[..., Any], *requests: Any) -> Any:
        """Begin a call; once this client is closed gRPC raises ValueError, in words of its own."""
        try:
            return begin(*requests)
        except ValueError as error:
            if self._is_closed:
                raise closed_error(self._name) from error
            raise

    def _repeat(self, attempt: Callable[[Attempts], _Value], seconds: float | None) -> _Value:
        attempts = Attempts(self._retries, seconds)
        while True:
            try:
                return attempt(attempts)
            except PruningError as error:
                if self._is_closed and retry.is_passing(error):  # closing cancels the calls that run
                    raise closed_error(self._name) from error
                wait = attempts.wait_after(error)
                if wait is None:
                    raise
            self._pause(wait)

    def _pause(self, seconds: float) -> None:
        """Wait, unless this client is closed meanwhile. No Event: an interrupt could leave its lock half taken."""
        end = time.monotonic() + seconds
        while not self._is_closed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
        if self._is_closed:
            raise closed_error(self._name)

    def _check_usable(self) -> None:
        self._birthplace.check()
        if self._is_closed:
            raise ValueError(f"this client of {self._name} is closed; make a new one")
