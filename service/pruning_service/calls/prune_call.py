"""The life of one Prune call, over any pair of streams: options, reservation, plan, result, report, or why it failed.

Every failure is reported twice: in the stream, by `PruneCall._report_failure`, and once the client has stopped writing
as the status, by the caller of `run`. (A client that is still writing when its call ends mostly sees INTERNAL instead
of the status: grpc issue 36066.)
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.call_streams import EarlyEnd, Requests, Responses
from pruning_service.calls.device_share import DeviceShare
from pruning_service.calls.pipeline import Pipeline, PipelineResult
from pruning_service.calls.preparation import Prepared
from pruning_service.calls.stage_times import ADMISSION, StageTimes
from pruning_service.deadlines import DISCARD_SECONDS
from pruning_service.messages.plan_and_report import plan_messages, report_messages
from pruning_service.messages.recipe import Request, request_of
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.memory_budget import Budget, Reservation
from pruning_service.resources.memory_estimate import expressions_bytes, options_bytes
from pruning_service.resources.spool import Spool, SpoolDirectory
from pruning_service.resources.threads import run_in_thread_if_large, wait_for_disk
from pruning_service.status import Refusal, drop_tracebacks, failure, refusal_of
from pruning_service.streams.byte_streams import TensorStore
from pruning_service.streams.tensor_reader import HeaderLimits

HELD_BYTES: Final = 256 * MIB
"""From here on a file is rather read again than held: that takes less time than touching fresh memory for all of it."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResources:
    """What the calls of a process share. `device_budget`: of the device's memory, where that is the device's own."""

    budget: Budget
    worker: EngineWorker
    faults: DeviceFaults
    limits: HeaderLimits
    version: str
    spool: SpoolDirectory | None = None
    device_budget: Budget | None = None


class PruneCall:
    """One call. `run`, or `run_within`, is its whole life; afterwards `report` is set, or `refusal`, for its status.

    `is_cut_off`: the refusal has gone out as the status already, or cannot go out at all. `tensors` is the number of
    tensors in the file, once its header has been read. `parts` are the objects of the file and its plan if there are
    many: they are to be freed in steps. `times` are those of its stages.
    """

    def __init__(
        self, requests: Requests, responses: Responses, end: EarlyEnd, request_id: str, resources: CallResources
    ) -> None:
        self.request_id = request_id
        self.request: Request | None = None
        self.report: pb.Report | None = None
        self.refusal: Refusal | None = None
        self.is_cut_off = False
        self.tensors = 1
        self.parts: list[object] = []
        self.times = StageTimes()
        self._requests = requests
        self._responses = responses
        self._end = end
        self._resources = resources
        self._on_device = DeviceShare(resources.device_budget)
        self._task: asyncio.Task[object] | None = None
        self._sending_status: asyncio.Future[None] | None = None
        self._begin = time.perf_counter()

    async def run(self) -> None:
        """Carry out the call. What it holds stays reserved until its client has taken, or lost, what it is sent."""
        with self._resources.budget.reservation() as reservation:
            await self.run_within(reservation)

    async def run_within(self, reservation: Reservation) -> None:
        """As `run`, with a reservation of the caller's, who may keep it until memory has been freed."""
        self._task = asyncio.current_task()
        try:
            await self._prune(reservation)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is sent a reason
            self.refusal = await self._refusal_of(error)
            drop_tracebacks(error)
        except asyncio.CancelledError:
            if self.refusal is None or self._task is None:  # cancelled by whatever awaits it, not by `cancel`
                raise
            self._task.uncancel()
        finally:
            self._on_device.release()  # only now: the traceback of an error refers to all that was there
        if self.refusal is not None:
            await self._report_failure(self.refusal)

    def cancel(self, refusal: Refusal) -> None:
        """End the call before it is finished, for a reason outside of it, unless it is ending already."""
        if self._task is not None and not self._task.done() and self.refusal is None:
            self.refusal = refusal
            self._task.cancel()

    async def _prune(self, reservation: Reservation) -> None:
        sizes: list[int] = []

        async def reserve(size: int) -> None:
            sizes.append(size)
            await reservation.keep(options_bytes(size))

        options = await self._requests.options(reserve)
        request = self.request = await run_in_thread_if_large(partial(request_of, options), *sizes)
        await reservation.keep(expressions_bytes(request.expressions))
        pipeline = Pipeline(request, self._requests, self._responses, self._resources.worker, self.times)
        prepared = await pipeline.prepare(self._resources.limits, reservation, self._resources.version)
        await self._on_device.measure(prepared)
        if self._is_better_read_again(prepared, reservation):
            prepared = await pipeline.prepare_to_read_again() or prepared
            await self._on_device.measure(prepared)
        if self._resources.spool is not None and not reservation.can_hold(prepared.peak_bytes):
            prepared = prepared.with_spooled_results
        self._note_size(prepared)
        if request.digests and prepared.output.has_file:
            self._responses.take_digest()
        elif self._requests.is_whole and prepared.output.takes_weights:
            self._responses.join()
        if prepared.output.takes_weights:
            with self.times.stage(ADMISSION):
                self._on_device.check()
                await reservation.grow(prepared.peak_bytes)
                await self._on_device.reserve()
            async with self._spooled(prepared) as spool:
                await self._send_plan(prepared)
                results = spool if prepared.results_bytes else None
                result = await pipeline.prune(prepared, self._store(prepared, spool), results)
                self._on_device.release()
                await self._send_report(result, prepared)
        else:
            await self._send_plan(prepared)
            await pipeline.end("format PLAN ends after the header")
        self._responses.close()
        await self._responses.drained()

    def _is_better_read_again(self, prepared: Prepared, reservation: Reservation) -> bool:
        """Whether tensors are rather read several times than held, if the plan can do so."""
        if not any(stage.is_barrier for stage in prepared.plan.stages):
            return False
        rereadable = self._requests.rereadable
        if rereadable is not None and rereadable.is_near and prepared.peak_bytes > HELD_BYTES:
            return True
        can_read_again = rereadable is not None or self._resources.spool is not None
        return can_read_again and not (reservation.can_hold(prepared.peak_bytes) and self._on_device.fits)

    @asynccontextmanager
    async def _spooled(self, prepared: Prepared) -> AsyncIterator[Spool | None]:
        """Yield the spool file of a call that needs one. Raises: Refusal if the disk has too little space."""
        size = self._spool_bytes(prepared)
        if size == 0 or (directory := self._resources.spool) is None:
            yield None
            return
        with ExitStack() as stack:
            yield await wait_for_disk(partial(stack.enter_context, directory.spool(size)), size)

    def _spool_bytes(self, prepared: Prepared) -> int:
        """Return the bytes of tensors to be read several times, and of results that wait for their header."""
        is_received = bool(prepared.plan.searched) and self._requests.rereadable is None
        return (prepared.file.buffer_bytes if is_received else 0) + prepared.results_bytes

    def _store(self, prepared: Prepared, spool: Spool | None) -> TensorStore | None:
        """Return the store of tensors that are read several times."""
        if not prepared.plan.searched:
            return None
        rereadable = self._requests.rereadable
        return spool if rereadable is None else rereadable.again(prepared.skipped)

    def _note_size(self, prepared: Prepared) -> None:
        self.tensors = max(1, len(prepared.file.tensors))
        self.parts = prepared.parts

    async def _send_plan(self, prepared: Prepared) -> None:
        last = pb.Plan(
            request_id=self.request_id,
            peak_bytes=prepared.peak_bytes,
            spool_bytes=self._spool_bytes(prepared),
            result_bytes=prepared.result_bytes,
            seed=prepared.plan.recipe.seed,
            device=self._resources.worker.device,
        )
        is_told = prepared.output.needs_units or not prepared.output.takes_weights
        skipped = prepared.skipped if is_told else ()
        await self._send(plan_messages(prepared.plan, skipped, last), prepared)

    async def _send_report(self, result: PipelineResult, prepared: Prepared) -> None:
        report = result.report
        last = self.report = pb.Report(
            request_id=self.request_id,
            stage_seconds={**result.seconds, "total": time.perf_counter() - self._begin},
            device=report.device,
            seed=report.seed,
            version=self._resources.version,
            reproducible=report.reproducible,
            input_sha256=await self._requests.sha256(),
            result_sha256=await self._responses.sha256(),
            negative_zeros=result.negative_zeros,
            result_bytes=result.result_bytes,
        )
        await self._send(report_messages(report, last), prepared)
        if self.parts:
            self.parts += (*report.tensors, *report.groups)

    async def _send(self, messages: Iterator[pb.PruneResponse], prepared: Prepared) -> None:
        described: list[pb.PruneResponse] = await run_in_thread_if_large(
            lambda: list(messages), prepared.file.header_bytes + (self.request.options_bytes if self.request else 0)
        )
        for number, message in enumerate(described):
            if number:
                await asyncio.sleep(0)  # each takes a millisecond, and there may be many
            self._responses.send(message)

    async def _refusal_of(self, error: Exception) -> Refusal:
        """Return what `error` amounts to; the device is looked at where it may be its fault."""
        refusal = await self._resources.faults.refusal_of(error, self.request_id) or refusal_of(error, self.request_id)
        if refusal.reason is Reason.INTERNAL:
            _log.exception("request_id=%s failed", self.request_id, exc_info=error)
        return refusal

    async def _report_failure(self, refusal: Refusal) -> None:
        """Report in the stream why the call ends, and read on until its client stops writing.

        A client that does not take the message is sent the status at once; if it does not take that, it is cut off.
        """
        self._responses.drop()
        self._responses.send(pb.PruneResponse(failure=failure(refusal, self.request_id)))
        discarding = asyncio.ensure_future(self._requests.discard(DISCARD_SECONDS))
        patience = 0.0 if refusal.reason is Reason.CLIENT_NOT_READING else DISCARD_SECONDS
        if not await self._responses.is_taken(patience):
            self.is_cut_off = True
            self._sending_status = asyncio.ensure_future(self._end.send_status(refusal))
            if not await self._responses.is_taken(DISCARD_SECONDS):
                self._end.reset()
        await discarding
