# ruff: noqa: PLR0913 - what a caller may ask is by keyword, one each
"""The client for asyncio: `AsyncClient`, a thin shell around `exchange`, verb for verb as `Client` in `sync`.

What blocks (reading and writing files, views of tensors, a token that is asked for) is done in threads, by `off_loop`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

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
from pruning_client.transport.aio_stream import cancellations, converse
from pruning_client.transport.channel import Target, name_of, open_aio_channel
from pruning_client.transport.credentials import Metadata, Tls, Token, security_of
from pruning_client.transport.retry import Attempts
from pruning_client.transport.threads import entered, in_thread
from pruning_proto.framing import decode_response
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

_Value = TypeVar("_Value")
_Sink = TypeVar("_Sink", bound=Sink)


class AsyncClient:
    """A pruning server, reached over gRPC from an event loop: the one that runs when this is made.

    One may be used by many tasks. All else is as `Client` has it, each verb awaited. A task that is cancelled ends its
    call, and leaves no half file. `progress` is told on the event loop.

    Raises (every call): as `Client`. RuntimeError in another event loop, and where none runs.
    Example:
        async with AsyncClient("localhost:50051") as client:
            result = await client.prune(model.state_dict(), rules.l1_unstructured(0.5))
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
        self._loop = _running_loop()
        self._closed = asyncio.Event()
        self._channel = open_aio_channel(target, self._security)
        self._prune: Any = self._channel.stream_stream(PRUNE_PATH, None, decode_response)
        self._get_capabilities = self._channel.unary_unary(
            GET_CAPABILITIES_PATH,
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection; calls that run are cancelled."""
        self._closed.set()
        if self._birthplace.is_owner:
            await self._channel.close()

    async def prune(
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
        """Prune a state dict, or a safetensors file, into memory, as `Client.prune` does.

        The state dict is read while it is sent, in threads: leave it alone until this is done.
        """
        self._check_usable()
        what = await in_thread(
            lambda: asked(source, rules, form_of(output), seed, importance_scores, masks, digests, canonical_zero)
        )
        outcome, block = await self._run(what, lambda exchange: nullcontext(Block(exchange)), progress, timeout)
        return result_of(what, outcome, block)

    async def prune_file(
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
        """Prune a safetensors file into another, as `Client.prune_file` does."""
        self._check_usable()
        what = await in_thread(lambda: asked_of_file(source, rules, form_of(output), seed, digests, canonical_zero))
        outcome, _ = await self._run(what, lambda _: replacing(target), progress, timeout)
        return whole_report(outcome)

    async def dry_run(
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
        """Give the report that `prune` would give, without its result, as `Client.dry_run` does."""
        self._check_usable()
        what = await in_thread(
            lambda: asked(source, rules, pb.OUTPUT_FORM_REPORT, seed, importance_scores, masks, digests)
        )
        outcome, _ = await self._run(what, lambda _: nullcontext(NoResultSink()), progress, timeout)
        return whole_report(outcome)

    async def plan(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Give what `prune` would do and cost, as `Client.plan` does."""
        self._check_usable()
        what = await in_thread(lambda: asked(source, rules, pb.OUTPUT_FORM_PLAN, seed, importance_scores, masks))
        outcome, _ = await self._run(what, lambda _: nullcontext(NoResultSink()), None, timeout)
        return outcome.plan

    async def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Give what the server offers, as `Client.capabilities` does."""

        async def attempt(attempts: Attempts) -> Capabilities:
            request = pb.GetCapabilitiesRequest()
            metadata = await self._metadata()  # may take its time, which is the call's
            try:
                response = await self._get_capabilities(request, timeout=attempts.seconds_left, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                raise from_status(error, self._name, is_tls=self._security.is_tls) from error
            return capabilities_of(response)

        self._check_usable()
        return await self._repeat(attempt, timeouts.deadline(timeout, self._timeout, ALLOWANCE_SECONDS))

    async def _run(
        self,
        what: PruneRequestSpec,
        landing: Callable[[Exchange], AbstractContextManager[_Sink]],
        progress: Watcher | None,
        timeout: float | None,
    ) -> tuple[Outcome, _Sink]:
        """Give what a call gave and where its result's bytes are: in a sink of `landing`, a new one each attempt."""

        async def attempt(attempts: Attempts) -> tuple[Outcome, _Sink]:
            exchange = Exchange(what, attempts.number)
            async with entered(landing(exchange)) as sink:
                await self._converse(exchange, sink, progress, attempts)
                return await in_thread(exchange.finish) if exchange.is_long else exchange.finish(), sink

        return await self._repeat(attempt, timeouts.deadline(timeout, self._timeout, what.default_timeout))

    async def _converse(self, exchange: Exchange, sink: Sink, progress: Watcher | None, attempts: Attempts) -> None:
        metadata = await self._metadata()  # may take its time, which is the call's
        begin = partial(self._prune, timeout=attempts.seconds_left, metadata=metadata)
        try:
            await converse(begin, exchange, sink.write, progress)
        except grpc.aio.AioRpcError as error:
            sent_bytes = exchange.sent_bytes if exchange.is_answered else None
            raise from_status(error, self._name, sent_bytes, is_tls=self._security.is_tls) from error

    async def _metadata(self) -> Metadata:
        """Give the metadata of an attempt. Raises: UnavailableError if this client was closed meanwhile."""
        metadata = await in_thread(self._security.metadata) if self._security.may_block else self._security.metadata()
        if self._closed.is_set():  # gRPC would raise something of its own
            raise closed_error(self._name)
        return metadata

    async def _repeat(self, attempt: Callable[[Attempts], Awaitable[_Value]], seconds: float | None) -> _Value:
        attempts = Attempts(self._retries, seconds)
        cancelled_before = cancellations()
        while True:
            try:
                return await attempt(attempts)
            except PruningError as error:
                if self._closed.is_set() and retry.is_passing(error):  # closing cancels the calls that run
                    raise closed_error(self._name) from error
                wait = attempts.wait_after(error)
                if wait is None:
                    raise
            except asyncio.CancelledError as error:
                if self._closed.is_set() and cancellations() == cancelled_before:  # grpc.aio tells it so too
                    raise closed_error(self._name) from error
                raise
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._closed.wait()
                raise closed_error(self._name)

    def _check_usable(self) -> None:
        self._birthplace.check()
        if self._closed.is_set():
            raise ValueError(f"this client of {self._name} is closed; make a new one")
        if _running_loop() is not self._loop:
            raise RuntimeError(f"this client of {self._name} belongs to another event loop; make one in this loop")


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise RuntimeError("an AsyncClient is made in the event loop that uses it; without one, use Client") from error
