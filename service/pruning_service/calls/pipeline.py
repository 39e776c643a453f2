"""One checkpoint from a source of bytes through the engine into a sink of bytes.

This is all of a call that has to do with tensors. It knows no gRPC, and of messages only the parsed request: a
stream, a file or memory can be at either end. First `prepare`, which reads the header and plans; then `prune`, or `end`
where only the plan is wanted. While the engine prunes one parameter the next one is read.

What does not fit into memory is planned once more by `prepare_to_read_again`: tensors are then read from a store until
the rules of global scope have found their cuts. That is a spool file, into which they go as they come, or the file that
they come from. Results whose header is known only at the end may wait in a spool file, too.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.parameters import ReceivedParameter, ResultTensor
from pruning_engine.execution.stage_runner import NOTHING_KNOWN, KnownCuts
from pruning_engine.kernels.devices import backend_for
from pruning_engine.report import Report
from pruning_proto.safetensors.header import Layout
from pruning_service.calls.cut_searches import CutSearches
from pruning_service.calls.preparation import Prepared, prepare
from pruning_service.calls.stage_times import StageTimes
from pruning_service.calls.work_estimate import WorkEstimate
from pruning_service.messages.history import with_config
from pruning_service.messages.recipe import Request
from pruning_service.outputs.by_format import Packing, make_output
from pruning_service.outputs.output import Output, Part, Stored
from pruning_service.outputs.spooled import ResultSpool, SpooledTensor
from pruning_service.resources.engine_worker import LIGHT_BYTES, EngineWorker
from pruning_service.resources.memory_budget import Reservation
from pruning_service.resources.spool import Spool
from pruning_service.resources.threads import run_in_thread_if_large
from pruning_service.streams.ahead import one_ahead
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.byte_streams import ByteSink, ByteSource, TensorStore
from pruning_service.streams.tensor_reader import HeaderLimits, TensorReader

_Encoded: TypeAlias = tuple[str, Sequence[ResultTensor]]  # of one parameter, by its name


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult:
    """What was done. `seconds` of each stage; `result_bytes` is None where there is no file."""

    report: Report
    seconds: Mapping[str, float]
    negative_zeros: int
    result_bytes: int | None


class Pipeline:
    """One checkpoint on its way through the engine."""

    def __init__(
        self, request: Request, source: ByteSource, sink: ByteSink, worker: EngineWorker, times: StageTimes
    ) -> None:
        self._request = request
        self._reader = TensorReader(source)
        self._sink = sink
        self._worker = worker
        self._times = times
        self._written_bytes = 0
        self._file: Layout | None = None
        self._version = ""
        self._spool: ResultSpool | None = None

    async def prepare(self, limits: HeaderLimits, reservation: Reservation, version: str) -> Prepared:
        """Read the header and plan. Raises: Refusal, PruningError, LayoutError."""
        self._file = await self._reader.header(limits, reservation)
        self._version = version
        return await self._prepared(self._file)

    async def prepare_to_read_again(self) -> Prepared | None:
        """Plan once more, with tensors that are read several times; None if a rule must hold them all the same."""
        prepared = None if self._file is None else await self._prepared(self._file, can_read_again=True)
        return prepared if prepared is not None and prepared.plan.searched else None

    async def _prepared(self, file: Layout, *, can_read_again: bool = False) -> Prepared:
        work = partial(
            prepare,
            self._request,
            file,
            self._sink.backlog_bytes,
            self._version,
            can_read_again=can_read_again,
        )
        return await run_in_thread_if_large(work, file.header_bytes + self._request.options_bytes)

    async def end(self, why: str) -> None:
        """Read no tensors. Raises: Refusal if there are any bytes after the header."""
        await self._reader.end(why)

    async def prune(
        self, prepared: Prepared, store: TensorStore | None = None, spool: Spool | None = None
    ) -> PipelineResult:
        """Read all tensors, prune them and write the result; `prepared.peak_bytes` must be reserved.

        `store`: if the plan is `searched`, what holds the tensors then. One that is filled is read for the search
        alone, little of it to begin with; then they are received once, to be pruned. `spool`: where results wait until
        their header is known; it may be the store.
        Raises: Refusal, PruningError, LayoutError; OSError of store and spool.
        """
        self._reader.leave_out(prepared.skipped, is_sent=not self._request.leaves_out_skipped)
        described_bytes = prepared.file.header_bytes + self._request.options_bytes
        buffers = Buffers(prepared.peak_bytes, pinned=self._worker.is_gpu)
        self._spool = None if spool is None else ResultSpool(spool, buffers.take_pageable)
        known, again = NOTHING_KNOWN, None
        if store is not None:
            search = CutSearches(prepared, store, buffers, self._worker)
            if not store.is_filled:
                with self._times.stage("receive"):
                    await search.first(self._reader.parameters(prepared.file.tensors, prepared.plan, buffers, store))
                again = search.again()
            with self._times.stage("search"):
                known = await search.others()
        received = again or self._reader.parameters(prepared.file.tensors, prepared.plan, buffers)
        work = await run_in_thread_if_large(partial(self._begin, prepared, buffers, known), described_bytes)
        with self._times.stage("send"):
            await self._write([memoryview(prepared.header)])
            await self._prune_parameters(self._received(received), prepared, work)
            report = await run_in_thread_if_large(work.pruning.report, described_bytes)
            finish = partial(work.output.finish, with_config(prepared.metadata, report.groups))
            await self._write(await run_in_thread_if_large(finish, described_bytes))
            await self._sink.nearly_drained()
        return PipelineResult(
            report=report,
            seconds={**self._times.seconds, **report.seconds},
            negative_zeros=work.output.negative_zeros,
            result_bytes=self._written_bytes if prepared.output.has_file else None,
        )

    @property
    def _packing(self) -> Packing:
        return Packing(canonical_zero=self._request.canonical_zero, is_compressed=self._request.is_compressed)

    def _begin(self, prepared: Prepared, buffers: Buffers, known: KnownCuts) -> "_Work":
        plan = prepared.plan
        backend = backend_for(self._worker.device)
        return _Work(
            pruning=Pruning(plan, backend=backend, in_place=True, counts_zeros=True, known=known),
            output=make_output(prepared.output, plan, prepared.last, buffers, self._packing),
            estimate=WorkEstimate(plan, prepared.file),
        )

    async def _prune_parameters(
        self, received: AsyncGenerator[ReceivedParameter, None], prepared: Prepared, work: "_Work"
    ) -> None:
        async with aclosing(received if work.estimate.is_light else one_ahead(received)) as parameters:
            async for parameter in parameters:
                is_little = parameter.planned.passes_through and parameter.nbytes <= LIGHT_BYTES
                if is_little and not prepared.output.header_is_late:
                    finished = work.advance(parameter)  # its zeros are counted, no more
                else:
                    cost_bytes = work.estimate.take_cost(parameter)
                    with self._times.stage("prune"):
                        finished = await self._worker.run(partial(work.advance, parameter), cost_bytes)
                while finished:  # each is released as it leaves: a global rule finishes all of them at once
                    await self._write(work.output.add(*await self._kept(*finished.popleft())))

    async def _received(self, parameters: AsyncIterator[ReceivedParameter]) -> AsyncGenerator[ReceivedParameter, None]:
        with self._times.stage("receive"):
            async for parameter in parameters:
                yield parameter

    async def _kept(self, name: str, encoded: Sequence[ResultTensor]) -> tuple[str, Sequence[Stored]]:
        """Return the tensors of a parameter where they wait until they are sent."""
        return name, encoded if self._spool is None else await self._spool.keep(encoded)

    async def _write(self, parts: Iterable[Part]) -> None:
        for part in parts:
            if isinstance(part, SpooledTensor):
                await self._write_spooled(part)
            else:
                self._written_bytes += len(part)
                await self._sink.write(part)

    async def _write_spooled(self, tensor: SpooledTensor) -> None:
        if self._spool is None:
            raise RuntimeError("a result is in a spool file, and there is none")
        async with aclosing(self._spool.read(tensor)) as pieces:
            async for piece in pieces:
                await self._write([piece])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The engine and the output of one file, and what each parameter costs."""

    pruning: Pruning
    output: Output
    estimate: WorkEstimate

    def advance(self, received: ReceivedParameter) -> deque[_Encoded]:
        """Hand one parameter to the engine; return all that have now left it, as they are stored."""
        finished = deque(self.pruning.add(received))
        encoded: deque[_Encoded] = deque()
        while finished:  # each is released before the next one is encoded
            state = finished.popleft()
            encoded.append((state.planned.name, self.output.encode(state.results)))
        return encoded
