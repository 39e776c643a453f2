"""PruneCheckpoint, and google.longrunning.Operations: jobs as gRPC's clients see them.

Each method is a few lines: what it does, `pruning_service.jobs` does in threads, because it waits for stores.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import grpc
from google.longrunning import operations_proto_pb2 as lro
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pruning_proto.reasons import Reason
from pruning_service.auth.callers import caller, caller_token
from pruning_service.jobs.catalog import Caller, JobCatalog, is_collection
from pruning_service.jobs.names import not_found, parse_operation_name
from pruning_service.jobs.operations import listed, operation_of
from pruning_service.jobs.requests import invalid
from pruning_service.jobs.state import JobState
from pruning_service.jobs.store_refusals import store_refusal
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.observability.metrics import Metrics
from pruning_service.rpc.call_log import Context, new_request_id, send_request_id
from pruning_service.rpc.grpc_status import grpc_status
from pruning_service.status import Refusal, drop_tracebacks, refusal_of
from pruning_service.stores.errors import StoreError

THREADS: Final = 8
"""Calls that wait for stores at once; more wait for one of these."""

PAGE: Final = 100
MOST_IN_A_PAGE: Final = 500
"""Operations in one answer, by default and at most: each takes up to 7 KiB."""

LONGEST_WAIT_SECONDS: Final = 30.0
"""After which WaitOperation answers with what there is, as it may; its caller calls again."""

WAITS: Final = 64
"""Calls of WaitOperation that wait; more are answered at once."""

_FIRST_LOOK_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 1.0

_Value = TypeVar("_Value")
_MessageT = TypeVar("_MessageT", bound=Message)

_log = logging.getLogger(__name__)


class JobsServicer:
    """The methods that are about jobs. `catalog` is None where the server has no stores."""

    def __init__(self, catalog: JobCatalog | None, changed: Callable[[], object], metrics: Metrics) -> None:
        """`changed` is called when a job was created, or is to be cancelled."""
        self._catalog = catalog
        self._changed = changed
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, "prune-operations")
        self._draining = asyncio.Event()
        self._waiting = 0

    def drain(self) -> None:
        """Answer the calls that wait, and let none wait any more."""
        self._draining.set()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def PruneCheckpoint(self, raw: bytes, context: Context) -> lro.Operation:  # noqa: N802 - the contract's name
        """Create a job, or return the one that is the same."""

        def create(catalog: JobCatalog) -> tuple[lro.Operation, bool]:
            job, is_new = catalog.create(raw, _caller())
            return operation_of(job), is_new

        async def work() -> lro.Operation:
            operation, is_new = await self._in_thread(create)
            if is_new:
                self._changed()
                _log.info("job created name=%s peer=%s caller=%s", operation.name, context.peer(), caller.get())
            return operation

        return await self._answered(context, work)

    async def GetOperation(self, raw: bytes, context: Context) -> lro.Operation:  # noqa: N802
        """Return a job as it is now."""

        async def work() -> lro.Operation:
            request = _parsed(raw, lro.GetOperationRequest())
            return await self._in_thread(lambda catalog: operation_of(catalog.find(request.name, _caller())))

        return await self._answered(context, work)

    async def WaitOperation(self, raw: bytes, context: Context) -> lro.Operation:  # noqa: N802
        """Return a job when it is done, or after a while."""

        async def work() -> lro.Operation:
            request = _parsed(raw, lro.WaitOperationRequest())
            seconds = LONGEST_WAIT_SECONDS
            if request.HasField("timeout"):
                seconds = min(seconds, max(0.0, request.timeout.ToNanoseconds() / 1e9))
            job = await self._in_thread(lambda catalog: catalog.find(request.name, _caller()))
            return await self._waited(job, seconds)

        return await self._answered(context, work)

    async def ListOperations(self, raw: bytes, context: Context) -> lro.ListOperationsResponse:  # noqa: N802
        """Return the jobs that the caller may see, without their reports."""

        async def work() -> lro.ListOperationsResponse:
            request = _parsed(raw, lro.ListOperationsRequest())
            _check_list(request)
            most = min(request.page_size or PAGE, MOST_IN_A_PAGE)
            return await self._in_thread(lambda catalog: _page(catalog, request.page_token, most))

        return await self._answered(context, work)

    async def CancelOperation(self, raw: bytes, context: Context) -> Empty:  # noqa: N802
        """Have a job cancelled; it is, some seconds later."""

        async def work() -> Empty:
            request = _parsed(raw, lro.CancelOperationRequest())
            job = await self._in_thread(lambda catalog: catalog.cancel(request.name, _caller()))
            self._changed()
            _log.info("job to be cancelled name=%s peer=%s caller=%s", job.operation_name, context.peer(), caller.get())
            return Empty()

        return await self._answered(context, work)

    async def DeleteOperation(self, raw: bytes, context: Context) -> Empty:  # noqa: N802
        """Delete the state of a job that is done; its result stays."""

        async def work() -> Empty:
            request = _parsed(raw, lro.DeleteOperationRequest())
            await self._in_thread(lambda catalog: catalog.delete(request.name, _caller()))
            _log.info("job deleted name=%s peer=%s caller=%s", request.name, context.peer(), caller.get())
            return Empty()

        return await self._answered(context, work)

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of PruningService that are about jobs."""
        return {"PruneCheckpoint": _handler(self.PruneCheckpoint, lro.Operation)}

    def operations_handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of google.longrunning.Operations."""
        return {
            "GetOperation": _handler(self.GetOperation, lro.Operation),
            "WaitOperation": _handler(self.WaitOperation, lro.Operation),
            "ListOperations": _handler(self.ListOperations, lro.ListOperationsResponse),
            "CancelOperation": _handler(self.CancelOperation, Empty),
            "DeleteOperation": _handler(self.DeleteOperation, Empty),
        }

    async def _waited(self, job: JobState, seconds: float) -> lro.Operation:
        end, pause = time.monotonic() + seconds, _FIRST_LOOK_SECONDS
        may_wait = self._waiting < WAITS
        self._waiting += may_wait
        try:
            while True:
                operation = await self._in_thread(lambda _: operation_of(job))
                left = end - time.monotonic()
                if operation.done or left <= 0 or not may_wait or self._draining.is_set():
                    return operation
                try:
                    async with asyncio.timeout(min(pause, left)):
                        await self._draining.wait()
                except TimeoutError:
                    pause = min(2 * pause, _LOOK_SECONDS)
        finally:
            self._waiting -= may_wait

    async def _in_thread(self, work: Callable[[JobCatalog], _Value]) -> _Value:
        catalog = self._catalog
        if catalog is None:
            raise Refusal(
                reason=Reason.JOBS_NOT_AVAILABLE,
                message="this server has no stores, and so no jobs: set PRUNING_STORES, or call another server",
            )
        token, name = caller_token.get(), caller.get()
        return await asyncio.get_running_loop().run_in_executor(self._threads, _in_context, work, catalog, token, name)

    async def _answered(self, context: Context, work: Callable[[], Awaitable[_Value]]) -> _Value:
        """Return what `work` returns; whatever it raises, the client is sent a reason."""
        request_id = new_request_id()
        await send_request_id(context, request_id)
        try:
            return await work()
        except Exception as error:  # noqa: BLE001
            refusal = store_refusal(error) if isinstance(error, StoreError) else refusal_of(error, request_id)
            self._metrics.refusals.labels(refusal.reason).inc()
            if refusal.reason is Reason.INTERNAL:
                _log.exception("request_id=%s failed", request_id)
            drop_tracebacks(error)
        await context.abort_with_status(grpc_status(refusal, request_id))
        raise RuntimeError("an aborted call goes on")


def _in_context(work: Callable[[JobCatalog], _Value], catalog: JobCatalog, token: str, name: str) -> _Value:
    """Do work in a thread that knows who calls."""
    caller_token.set(token)
    caller.set(name)
    return work(catalog)


def _caller() -> Caller:
    return Caller(token=caller_token.get(), name=caller.get())


def _handler(
    method: Callable[[bytes, Context], Awaitable[Any]], answer: type[Message]
) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(method, None, answer.SerializeToString)


def _parsed(raw: bytes, message: _MessageT) -> _MessageT:
    """Return a message of which every part is known here. Raises: Refusal, DecodeError."""
    message.ParseFromString(raw)
    reject_unknown_fields(message)
    return message


def _check_list(request: lro.ListOperationsRequest) -> None:
    if not is_collection(request.name):
        raise not_found(request.name)
    if request.filter:
        raise invalid("filter", "operations are not filtered here; leave it out")
    if request.page_size < 0:
        raise invalid("page_size", f"a page has 0 operations or more, 0 for {PAGE}; got {request.page_size}")
    if request.page_token:
        parse_operation_name(request.page_token)


def _page(catalog: JobCatalog, after: str, most: int) -> lro.ListOperationsResponse:
    operations, last = catalog.page(after, most, _caller())
    return lro.ListOperationsResponse(operations=map(listed, operations), next_page_token=last)
