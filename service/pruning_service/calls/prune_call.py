"""One Prune call: receive, prune and send, overlapped.

Two halves: `_work` receives, prunes and fills the response stream; `responses` sends what is in it. While the engine
prunes one parameter the next is received, and neither half waits for the other beyond what the streams allow.

Every failure is told twice: in-band, and, once the client has stopped writing, as the status. (A client that is
still writing when its call ends mostly sees INTERNAL instead of the status: grpc issue 36066.)
"""

import asyncio
import logging
import secrets
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from pruning_engine.execution.prune import Pruning
from pruning_engine.recipe import Recipe, check
from pruning_engine.report import Report
from pruning_engine.runtime.emptying import empty
from pruning_proto.formats import BY_NUMBER
from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.preparation import Prepared, Server, prepare
from pruning_service.frames import drop_tracebacks
from pruning_service.messages import translate
from pruning_service.messages.history import with_config
from pruning_service.observability.metrics import Metrics
from pruning_service.outputs.deferred import DeferredResults, Unchanged
from pruning_service.outputs.ordered import Finished, OrderedResults, Results
from pruning_service.outputs.packed import Packing
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.engine_worker import Worker
from pruning_service.resources.garbage_collection import FEW_TENSORS
from pruning_service.resources.memory_budget import Budget, Reservation
from pruning_service.resources.threads import run_in_thread_if_large
from pruning_service.settings import Settings
from pruning_service.status import Refusal, failure, refusal_of
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.request_stream import Message, RequestStream
from pruning_service.streams.response_stream import ResponseStream
from pruning_service.streams.tensor_reader import ReceivedParameter, TensorReader

HEARTBEAT_SECONDS: Final = 5.0
"""The longest silence towards a client; proxies cut idle streams."""

DISCARD_SECONDS: Final = 2.0
"""How long a failed call reads on, so that its client sees why."""

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What all calls of a server share."""

    settings: Settings
    budget: Budget
    worker: Worker
    faults: DeviceFaults
    metrics: Metrics
    version: str
    calls: "set[PruneCall]" = field(default_factory=set)
    """Those under way."""

    @property
    def described(self) -> Server:
        """What a plan says of them."""
        backlog_bytes = self.settings.backlog_bytes
        return Server(version=self.version, device=str(self.worker.device), backlog_bytes=backlog_bytes)


class PruneCall:
    """One Prune call. `responses` is its whole life; afterwards `report` and `aborted` tell what came of it.

    Where a failure cannot be told in-band, for its client takes no more messages, `abort` ends the call with a status;
    and where it does not even take that, `reset_stream` ends it without.
    """

    def __init__(
        self,
        resources: Resources,
        requests: AsyncIterator[Message],
        request_id: str,
        abort: Callable[[Refusal], Awaitable[None]],
        reset_stream: Callable[[], object],
    ) -> None:
        settings = resources.settings
        self.request_stream = RequestStream(requests, settings.idle_seconds, settings.min_bytes_per_second)
        self.response_stream = ResponseStream(
            settings.backlog_bytes, settings.idle_seconds, settings.min_bytes_per_second
        )
        self.recipe: Recipe | None = None
        self.report: pb.Report | None = None
        self.aborted: Refusal | None = None
        self.tensors = 1  # of the file, once its header is in
        self._parts: list[object] = []  # of layout and plan, where they are many
        self._resources = resources
        self._abort = abort
        self._reset_stream = reset_stream
        self._working: asyncio.Task[None] | None = None
        self._aborting: asyncio.Future[None] | None = None
        self._ending: Refusal | None = None
        self.request_id = request_id
        self._begin = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    async def responses(self) -> AsyncIterator[pb.PruneResponse | Data]:
        """Give the messages of the way out. Raises: Refusal, after telling it in-band."""
        work = self._working = asyncio.create_task(self._work_and_tell())
        work.add_done_callback(self._work_ended)
        self._resources.calls.add(self)
        try:
            async for message in self.response_stream.messages(HEARTBEAT_SECONDS):
                yield self._progress() if message is None else message
            await work
        finally:
            work.add_done_callback(self._release)
            work.cancel()
            self.request_stream.close()

    def end(self, refusal: Refusal) -> None:
        """End the call before it is finished, for a reason that is not its own, unless it is ending already."""
        if self._working is not None and self._ending is None:
            self._ending = refusal
            self._working.cancel()

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        if work.cancelled() or work.exception() is not None:
            self.response_stream.drop()
        self.response_stream.close()

    def _release(self, work: asyncio.Task[None]) -> None:
        """Be over; free what the plan was made of, now that nobody else holds it, in short steps off the event loop."""
        if not self._parts:
            self._resources.calls.discard(self)
            return
        freeing = work.get_loop().run_in_executor(None, empty, self._parts)
        freeing.add_done_callback(lambda _: self._resources.calls.discard(self))

    async def _work_and_tell(self) -> None:
        """Do the call's work. What it holds stays reserved until its client has taken, or lost, what it is told."""
        with self._resources.budget.reservation() as reservation:
            try:
                await self._work(reservation)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
                refusal = await self._refusal_of(error)
                drop_tracebacks(error)
            except asyncio.CancelledError:
                if self._ending is None or self._working is None:
                    raise
                self._working.uncancel()
                refusal = self._ending
            else:
                return
            await self._tell_failure(refusal)
        raise refusal

    async def _refusal_of(self, error: Exception) -> Refusal:
        """Give what `error` amounts to; the device is looked at where it may be its fault."""
        refusal = await self._resources.faults.refusal_of(error, self.request_id) or refusal_of(error, self.request_id)
        if refusal.reason is Reason.INTERNAL:
            _log.exception("request_id=%s failed", self.request_id, exc_info=error)
        return refusal

    async def _tell_failure(self, refusal: Refusal) -> None:
        """Tell why the call ends, and read on until its client stages; hang up if it takes nothing."""
        self._ending = refusal
        self.response_stream.drop()
        self.response_stream.send(pb.PruneResponse(failure=failure(refusal, self.request_id)))
        discarding = asyncio.ensure_future(self.request_stream.discard(DISCARD_SECONDS))
        patience = 0.0 if refusal.reason is Reason.CLIENT_NOT_READING else DISCARD_SECONDS
        if not await self.response_stream.is_taken(patience):
            self.aborted = refusal
            self._aborting = asyncio.ensure_future(self._abort(refusal))  # waits behind what the client does not take
            if not await self.response_stream.is_taken(DISCARD_SECONDS):
                self._reset_stream()
        await discarding

    async def _work(self, reservation: Reservation) -> None:
        options = await self.request_stream.options()
        recipe = self.recipe = await run_in_thread_if_large(partial(_recipe, options), options.ByteSize())
        tensor_reader, settings = TensorReader(self.request_stream, options.total_bytes), self._resources.settings
        file = await tensor_reader.header(settings.header_bytes, settings.max_tensors, reservation)
        self.tensors = max(1, len(file.tensors))
        prepared = await run_in_thread_if_large(
            partial(prepare, recipe, options, file, self.request_id, self._resources.described),
            file.header_bytes + options.ByteSize(),
        )
        if self.tensors > FEW_TENSORS:
            self._parts = [*file.tensors, *prepared.parts]
        if options.digests and prepared.metadata is not None:
            self.response_stream.take_digest()
        if not BY_NUMBER[options.output].takes_weights:
            self._tell(prepared.told)
            await tensor_reader.end("form PLAN ends after the header")
        else:
            await reservation.grow(prepared.peak_bytes)
            self._tell(prepared.told)
            buffers = Buffers(prepared.peak_bytes, pinned=self._resources.worker.device.type == "cuda")
            arrivals = tensor_reader.parameters(file.tensors, prepared.plan, buffers)
            await self._stream(prepared, arrivals, _results(options, prepared, buffers), file.header_bytes)
        self.response_stream.close()
        await self.response_stream.drained()

    async def _stream(
        self, prepared: Prepared, arrivals: AsyncIterator[ReceivedParameter], results: Results, header_bytes: int
    ) -> None:
        begin = partial(Pruning, prepared.plan, device=self._resources.worker.device, in_place=True)
        pruning = await run_in_thread_if_large(begin, header_bytes)
        with self._stage("send"):
            await self.response_stream.write(memoryview(prepared.header))
            received = self._received(arrivals)
            async with aclosing(received if prepared.effort.is_light else _one_ahead(received)) as parameters:
                async for arrived in parameters:
                    finished = deque(await self._finished(pruning, arrived, results, prepared))
                    while finished:  # each is let go of as it leaves: a rule of global scope sets all free at once
                        await self._write(results.leaving(finished.popleft()))
            report = pruning.report()
            metadata = with_config(prepared.metadata or {}, report.groups)
            await self._write(await run_in_thread_if_large(partial(results.rest, metadata), header_bytes))
            await self.response_stream.nearly_drained()
        await self._tell_report(report, prepared, results, header_bytes)

    async def _finished(
        self, pruning: Pruning, arrived: ReceivedParameter, results: Results, prepared: Prepared
    ) -> Sequence[Finished]:
        """Give each parameter that is finished now that this one has arrived."""
        work = partial(results.finished, pruning, arrived)
        if arrived.planned.passes_through and not prepared.is_late:
            return work()  # there is nothing to do for it
        return await self._resources.worker.run(work, prepared.effort.of(arrived))

    async def _write(self, parts: Iterable[memoryview]) -> None:
        for part in parts:
            await self.response_stream.write(part)

    async def _received(self, arrivals: AsyncIterator[ReceivedParameter]) -> AsyncGenerator[ReceivedParameter, None]:
        with self._stage("receive"):
            async for arrived in arrivals:
                yield arrived

    def _progress(self) -> pb.PruneResponse:
        return pb.PruneResponse(
            progress=pb.Progress(
                received_bytes=self.request_stream.received_bytes, sent_bytes=self.response_stream.sent_bytes
            )
        )

    def _tell(self, messages: Iterable[pb.PruneResponse]) -> None:
        for message in messages:
            self.response_stream.send(message)

    async def _tell_report(self, report: Report, prepared: Prepared, results: Results, header_bytes: int) -> None:
        self._seconds.update(report.seconds)
        self._seconds["total"] = time.perf_counter() - self._begin
        last = self.report = pb.Report(
            request_id=self.request_id,
            stage_seconds=self._seconds,
            device=report.device,
            seed=report.seed,
            version=self._resources.version,
            reproducible=report.reproducible,
            input_sha256=await self.request_stream.digest.hexdigest() if self.request_stream.digest else "",
            result_sha256=await self.response_stream.digest.hexdigest() if self.response_stream.digest else "",
            negative_zeros=results.negative_zeros,
            result_bytes=None if prepared.metadata is None else self.response_stream.written_bytes,
        )
        self._tell(await run_in_thread_if_large(lambda: list(translate.report_messages(report, last)), header_bytes))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begin


def _results(options: pb.PruneOptions, prepared: Prepared, buffers: Buffers) -> Results:
    """Give what becomes of results in the form that is asked."""
    parameters = prepared.plan.parameters
    if not prepared.is_late:
        return OrderedResults(parameters)
    if BY_NUMBER[options.output].is_packed:
        return DeferredResults(parameters, Packing(buffers.take_pageable, canonical=options.canonical_zero))
    return DeferredResults(parameters, Unchanged())


def _recipe(options: pb.PruneOptions) -> Recipe:
    """Give the recipe, checked as far as it can be without the file, with its seed: the one given, or drawn here."""
    translate.check_form(options)
    recipe = translate.recipe(options.recipe)
    check(recipe)
    if recipe.seed is not None:
        return recipe
    return replace(recipe, seed=secrets.randbits(64) if recipe.is_random else 0)


async def _one_ahead(items: AsyncIterator[_Item]) -> AsyncGenerator[_Item, None]:
    """Give `items`, fetching the next while one is worked on."""
    following = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await following) is not None:
            following = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        following.cancel()
        await asyncio.wait({following})
