"""One Prune call: receive, prune and send, overlapped.

Two halves: `_work` receives, prunes and fills the outbox; `responses` sends what is in it. While the engine prunes
one parameter the next is received, and neither half waits for the other beyond what inbox and outbox allow.

Every failure is told twice: in-band, and, once the client has stopped writing, as the status. (A client that is
still writing when its call ends mostly sees INTERNAL instead of the status: grpc issue 36066.)
"""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

import torch

from pruning_engine.history import with_round
from pruning_engine.plan import Plan, TensorSpec, make_plan
from pruning_engine.prune import Parameter, Pruning
from pruning_engine.recipe import Recipe, check
from pruning_proto import layout
from pruning_proto.framing import Data
from pruning_proto.layout import Layout
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import translate
from pruning_service.admission import Budget
from pruning_service.config import Settings
from pruning_service.inbox import Inbox, Message
from pruning_service.intake import HEADER_COST, Arrived, Intake
from pruning_service.metrics import Metrics
from pruning_service.outbox import Outbox
from pruning_service.results import InputOrder, result_bytes
from pruning_service.status import Refusal, failure, refusal_of
from pruning_service.worker import Worker

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
    metrics: Metrics
    version: str
    calls: "set[PruneCall]" = field(default_factory=set)
    """Those under way."""


class PruneCall:
    """One Prune call. `responses` is its whole life; afterwards `report` and `aborted` tell what came of it.

    `abort` ends the call with a status where it cannot be told in-band: its client takes no more messages.
    """

    def __init__(
        self,
        resources: Resources,
        requests: AsyncIterator[Message],
        request_id: str,
        abort: Callable[[Refusal], Awaitable[None]],
    ) -> None:
        settings = resources.settings
        self.inbox = Inbox(requests, settings.idle_seconds)
        self.outbox = Outbox(settings.backlog_bytes, settings.idle_seconds)
        self.recipe: Recipe | None = None
        self.report: pb.Report | None = None
        self.aborted: Refusal | None = None
        self._resources = resources
        self._abort = abort
        self._working: asyncio.Task[None] | None = None
        self._ending: Refusal | None = None
        self.request_id = request_id
        self._begin = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    async def responses(self) -> AsyncIterator[pb.PruneResponse | Data]:
        """Give the messages of the way out. Raises: Refusal, after telling it in-band."""
        work = self._working = asyncio.create_task(self._work_or_abort())
        work.add_done_callback(self._work_ended)
        self._resources.calls.add(self)
        try:
            async for message in self.outbox.messages(HEARTBEAT_SECONDS):
                yield self._progress() if message is None else message
            if self._ending is not None:
                raise self._ending
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            refusal = refusal_of(error, self.request_id)
            if refusal.reason is Reason.INTERNAL:
                _log.exception("request_id=%s failed", self.request_id)
            yield pb.PruneResponse(failure=failure(refusal, self.request_id))
            await self.inbox.discard(DISCARD_SECONDS)
            raise refusal from (None if refusal is error else error)
        finally:
            self._resources.calls.discard(self)
            work.cancel()
            self.inbox.close()

    def end(self, refusal: Refusal) -> None:
        """End the call before it is finished, for a reason that is not its own."""
        self._ending = refusal
        if self._working is not None:
            self._working.cancel()

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        if work.cancelled() or work.exception() is not None:
            self.outbox.drop()
        self.outbox.close()

    async def _work_or_abort(self) -> None:
        try:
            await self._work()
        except Refusal as refusal:
            if refusal.reason is Reason.CLIENT_NOT_READING:  # `responses` is stuck in a write and cannot tell
                self.aborted = refusal
                await self._abort(refusal)
            raise

    async def _work(self) -> None:
        options = await self.inbox.options()
        recipe = self.recipe = _recipe(options)
        intake = Intake(self.inbox, options.total_bytes)
        file = await intake.header(self._resources.settings.header_bytes, self._resources.budget)
        plan, header = await asyncio.to_thread(self._prepare, recipe, options, file)
        peak_bytes = self._peak_bytes(plan, file)
        if options.output == pb.OUTPUT_FORM_PLAN:
            self._tell_plan(plan, peak_bytes, header)
            await intake.end("form PLAN ends after the header")
            return
        async with self._resources.budget.reserve(peak_bytes):
            self._tell_plan(plan, peak_bytes, header)
            await self._stream(plan, header, intake.parameters(file.tensors, plan))

    def _prepare(self, recipe: Recipe, options: pb.PruneOptions, file: Layout) -> tuple[Plan, bytes]:
        """Give the plan, and the header of the result; empty for forms that have no file."""
        specs = [TensorSpec(entry.name, entry.dtype, entry.shape) for entry in file.tensors]
        plan = make_plan(recipe, specs, output=translate.OUTPUTS[options.output], aliases=dict(options.aliases))
        if options.output in (pb.OUTPUT_FORM_REPORT, pb.OUTPUT_FORM_PLAN):
            return plan, b""
        is_told = options.recipe.HasField("seed") or recipe.is_random
        asked = recipe if is_told else replace(recipe, seed=None)  # the same request gives the same bytes
        metadata = with_round(file.metadata, asked, self._resources.version)
        results = ((spec.name, spec.dtype, spec.shape) for spec in plan.results)
        return plan, layout.build(results, metadata)[0]

    def _peak_bytes(self, plan: Plan, file: Layout) -> int:
        """What is held at one time: the header, the engine's share, a tensor ahead, one on its way out, the backlog."""
        ahead = max((entry.end - entry.begin for entry in file.tensors), default=0)
        on_its_way = max((spec.nbytes for spec in plan.results), default=0)
        backlog = min(self._resources.settings.backlog_bytes, sum(spec.nbytes for spec in plan.results))
        return HEADER_COST * file.header_bytes + plan.peak_bytes + ahead + on_its_way + backlog

    async def _stream(self, plan: Plan, header: bytes, arrivals: AsyncIterator[Arrived]) -> None:
        pruning = Pruning(plan, device=self._resources.worker.device, in_place=True)
        order = InputOrder(plan.parameters)
        with self._stage("send"):
            await self.outbox.write(memoryview(header))
            async for arrived in _one_ahead(self._received(arrivals)):
                for name, tensors in await self._pruned(pruning, arrived):
                    for tensor in order.add(name, tensors):
                        await self.outbox.write(result_bytes(tensor))
            if not order.is_complete:
                raise RuntimeError("a parameter of the plan has not come out of the engine")
            await self.outbox.drained()
        self._tell_report(pruning)

    async def _received(self, arrivals: AsyncIterator[Arrived]) -> AsyncIterator[Arrived]:
        with self._stage("receive"):
            async for arrived in arrivals:
                yield arrived

    async def _pruned(self, pruning: Pruning, arrived: Arrived) -> list[tuple[str, list[torch.Tensor]]]:
        """Give (name, result tensors) of each parameter that is finished now that this one has arrived."""
        planned = arrived.planned
        if planned.passes_through:
            return [(planned.name, [arrived.tensors[spec.name][1] for spec in planned.results])]
        parameter = Parameter(planned, arrived.typed())
        finished = await self._resources.worker.run(partial(pruning.add, parameter))
        return [
            (pruned.planned.name, [pruned.tensors[spec.name] for spec in pruned.planned.results]) for pruned in finished
        ]

    def _progress(self) -> pb.PruneResponse:
        return pb.PruneResponse(
            progress=pb.Progress(received_bytes=self.inbox.received_bytes, sent_bytes=self.outbox.sent_bytes)
        )

    def _tell_plan(self, plan: Plan, peak_bytes: int, header: bytes) -> None:
        last = pb.Plan(
            request_id=self.request_id,
            peak_bytes=peak_bytes,
            result_bytes=len(header) + sum(spec.nbytes for spec in plan.results) if header else None,
            seed=plan.recipe.seed,
            device=str(self._resources.worker.device),
        )
        for message in translate.plan_messages(plan, last):
            self.outbox.send(message)

    def _tell_report(self, pruning: Pruning) -> None:
        report = pruning.report()
        self._seconds.update(report.seconds)
        self._seconds["total"] = time.perf_counter() - self._begin
        self.report = pb.Report(
            request_id=self.request_id,
            stage_seconds=self._seconds,
            device=report.device,
            seed=report.seed,
            version=self._resources.version,
            reproducible=report.reproducible,
        )
        for message in translate.report_messages(report, self.report):
            self.outbox.send(message)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begin


def _recipe(options: pb.PruneOptions) -> Recipe:
    """Give the recipe, checked as far as it can be without the file, with its seed: the one given, or drawn here."""
    recipe = translate.recipe(options.recipe)
    check(recipe)
    if recipe.seed is not None:
        return recipe
    return replace(recipe, seed=secrets.randbits(64) if recipe.is_random else 0)


async def _one_ahead(items: AsyncIterator[_Item]) -> AsyncIterator[_Item]:
    """Give `items`, fetching the next while one is worked on."""
    following = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await following) is not None:
            following = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        following.cancel()
