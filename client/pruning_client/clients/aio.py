"""`AsyncClient`: the verbs of `Client`, awaited.

What blocks (reading and writing files, views of tensors, a token that is asked for) is done in threads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial, update_wrapper
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from google.longrunning.operations_proto_pb2 import Operation

from pruning_client.calls.exchange import Exchange
from pruning_client.calls.ranked_first import decided
from pruning_client.calls.request import PruneRequestSpec
from pruning_client.calls.sent_statistics import explaining_missing, with_all_statistics, with_used_statistics
from pruning_client.clients.aio_jobs import AsyncJob, awaited_job, awaited_jobs, without_example
from pruning_client.clients.base import PruneCall, SinkT, ValueT
from pruning_client.clients.jobs import JobCalls, JobVerbs, MessageT, UnaryCall, list_call
from pruning_client.clients.sync import Client, asking, planning
from pruning_client.errors import PruningError, closed_error
from pruning_client.results.capabilities import Capabilities, capabilities_of
from pruning_client.transport.retry import Attempts
from pruning_client.transport.threads import cancellations, entered, in_thread

_Value = TypeVar("_Value")
_Arguments = ParamSpec("_Arguments")


def _awaited(
    verb: Callable[Concatenate[Client, _Arguments], _Value],
) -> Callable[Concatenate["AsyncClient", _Arguments], Coroutine[Any, Any, _Value]]:
    """Return a verb of `Client` as a coroutine function: the same signature, and one place where it is defined.

    A verb does nothing but describe a call and return what `_run` or `_ask_capabilities` returns for it; of an
    `AsyncClient` these return a coroutine, which is awaited here.
    """

    async def call(client: "AsyncClient", /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Value:
        value: _Value = await cast("Any", verb)(client, *arguments, **options)
        return value

    update_wrapper(call, verb)
    call.__qualname__ = f"AsyncClient.{verb.__name__}"
    call.__doc__ = f"Do as `Client.{verb.__name__}` does, awaited. {without_example(verb.__doc__)}"
    return call


class AsyncClient(JobCalls):
    """A pruning server, reached over gRPC from an event loop: the one that runs when this is made.

    One may be used by many tasks. All else is as for `Client`, with each verb awaited. A state dict is read while it is
    sent, in threads: leave it alone until the call is done. A task that is cancelled ends its call, and leaves no half
    file. `progress` is called on the event loop.

    Raises (every call): as `Client`. RuntimeError in another event loop, and where none runs.

    Example:
        >>> async def pruned():
        ...     async with AsyncClient("localhost:50051") as client:
        ...         return await client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5))
        >>> asyncio.run(pruned()).report.pruned
        16
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; running calls are cancelled."""
        self._closed.set()
        if self._process.is_owner:
            await self._connection.close()

    prune = _awaited(Client.prune)
    prune_file = _awaited(Client.prune_file)
    dry_run = _awaited(Client.dry_run)
    plan = _awaited(Client.plan)
    scan = _awaited(Client.scan)
    capabilities = _awaited(Client.capabilities)
    prune_checkpoint = awaited_job(JobVerbs.prune_checkpoint)
    job = awaited_job(JobVerbs.job)
    jobs = awaited_jobs(JobVerbs.jobs)

    def _connect(self) -> None:
        from pruning_client.transport.aio_connection import GrpcAioConnection  # noqa: PLC0415 - imports gRPC

        self._loop = _running_loop()
        self._closed = asyncio.Event()
        self._connection = GrpcAioConnection(self._target, self._security)

    @property
    def _is_closed(self) -> bool:
        return self._closed.is_set()

    def _check_usable(self) -> None:
        super()._check_usable()
        if _running_loop() is not self._loop:
            raise RuntimeError(f"this client of {self._name} belongs to another event loop; make one in this loop")

    async def _run(self, call: PruneCall[SinkT, ValueT]) -> ValueT:
        """Carry out a call."""
        request = await in_thread(call.prepare)
        attempts = self._attempts(call.timeout, request.default_timeout)
        if request.statistics is not None:
            every = await in_thread(partial(with_all_statistics, request))
            if request.is_plan:
                request = every
            else:
                with explaining_missing(request):
                    plan = await self._repeat(partial(self._attempt, planning(every), every, attempts), attempts)
                request = await in_thread(partial(with_used_statistics, request, plan))
        request = await self._decided(request, attempts)
        return await self._repeat(partial(self._attempt, call, request, attempts), attempts)

    async def _decided(self, request: PruneRequestSpec, attempts: Attempts) -> PruneRequestSpec:
        """Return the request once the units are known that have to be ranked first."""
        steps = decided(request)
        try:
            asked = next(steps)
            while True:
                outcome = await self._repeat(partial(self._attempt, asking(asked), asked, attempts), attempts)
                asked = steps.send(outcome)
        except StopIteration as end:
            found: PruneRequestSpec = end.value
            return found

    async def _attempt(self, call: PruneCall[SinkT, ValueT], request: PruneRequestSpec, attempts: Attempts) -> ValueT:
        exchange = Exchange(request, attempts.number)
        async with entered(call.open_sink(exchange)) as sink:
            outcome = await self._connection.prune(exchange, sink.write, call.watcher, attempts)
        return call.value_of(request, outcome, sink)

    async def _ask_capabilities(self, attempts: Attempts) -> Capabilities:
        async def attempt() -> Capabilities:
            return capabilities_of(await self._connection.capabilities(attempts))

        return await self._repeat(attempt, attempts)

    async def _ask(self, call: UnaryCall[MessageT, _Value], timeout: float | None) -> _Value:
        """Return the value of a call with one message each way. Raises: PruningError."""
        attempts = self._attempts_of_call(timeout)

        async def attempt() -> MessageT:
            return await self._connection.ask(call.path, call.request, call.answer, attempts)

        return call.value_of(await self._repeat(attempt, attempts))

    async def _all_jobs(self, timeout: float | None) -> list[AsyncJob]:
        jobs, token = [], ""
        while True:
            page = await self._ask(list_call(token), timeout)
            jobs += [self._job(operation) for operation in page.operations]
            token = page.next_page_token
            if not token:
                return jobs

    def _job(self, operation: Operation) -> AsyncJob:
        return AsyncJob(self, operation)

    async def _repeat(self, attempt: Callable[[], Awaitable[_Value]], attempts: Attempts) -> _Value:
        cancelled_before = cancellations()
        while True:
            try:
                return await attempt()
            except PruningError as error:
                seconds = self._wait_after(error, attempts)
            except asyncio.CancelledError as error:
                if self._is_closed and cancellations() == cancelled_before:  # grpc.aio raises it for closing too
                    raise closed_error(self._name) from error
                raise
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closed.wait()
                raise closed_error(self._name)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise RuntimeError("an AsyncClient is made in the event loop that uses it; without one, use Client") from error
