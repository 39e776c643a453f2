"""What a call reads and writes goes on to its end in gRPC when the call is cancelled, so that gRPC frees it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from pruning_proto.limits import MIB
from pruning_service.rpc import whole_operations
from pruning_service.rpc.whole_operations import WholeOperations

METHOD = "/test.Test/Call"
MORE_THAN_FITS = 64
"""Messages of 1 MiB, more than gRPC takes for a client that reads none."""

WAITING_SECONDS = 0.5


class Recorded(grpc.aio.ServerInterceptor):
    """Between gRPC and what is tested: how each read and write has ended."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[str] = asyncio.Queue()

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        handler = await continuation(handler_call_details)

        async def recorded(requests: AsyncIterator[bytes], context: Any) -> Any:
            return await handler.stream_stream(requests, RecordingContext(context, self.ends))

        return grpc.stream_stream_rpc_method_handler(recorded)


class RecordingContext:
    def __init__(self, context: Any, ends: "asyncio.Queue[str]") -> None:
        self._context = context
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        return await self._recorded("read", self._context.read())

    async def write(self, message: bytes) -> None:
        await self._recorded("write", self._context.write(message))

    async def _recorded(self, name: str, operation: Awaitable[Any]) -> Any:
        try:
            result = await operation
        except asyncio.CancelledError:
            await self._ends.put(f"{name} cancelled")
            raise
        except grpc.aio.InternalError:
            await self._ends.put(f"{name} ended")
            raise
        await self._ends.put(f"{name} ended")
        return result


@asynccontextmanager
async def called(handler: Callable[[Any, Any], Awaitable[None]], recorded: Recorded) -> AsyncIterator[Any]:
    """Yield a call to a server, which has begun."""
    server = grpc.aio.server(interceptors=[recorded, WholeOperations()])
    method: Any = grpc.stream_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Call": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.stream_stream(METHOD)()
            await call.wait_for_connection()
            yield call
    finally:
        await server.stop(0)


async def read_one(context: Any) -> None:
    await context.read()


async def write_many(context: Any) -> None:
    for _ in range(MORE_THAN_FITS):
        await context.write(bytes(MIB))


async def end_of_the_last(operation: Callable[[Any], Awaitable[None]], go_on: Callable[[Any], Awaitable[Any]]) -> str:
    """Return how a waiting operation ended whose handler was cancelled, and whose client went on afterwards."""
    is_cancelled = asyncio.Event()

    async def handler(_: Any, context: Any) -> None:
        await context.send_initial_metadata(())
        try:
            async with asyncio.timeout(WAITING_SECONDS):  # cancels what is inside
                await operation(context)
        finally:
            is_cancelled.set()
            await asyncio.Event().wait()

    recorded = Recorded()
    async with called(handler, recorded) as call:
        await asyncio.wait_for(is_cancelled.wait(), 60)
        while not recorded.ends.empty():
            recorded.ends.get_nowait()
        going_on = asyncio.ensure_future(go_on(call))
        try:
            return await asyncio.wait_for(recorded.ends.get(), 60)
        finally:
            going_on.cancel()


async def send_a_message(call: Any) -> None:
    await call.write(b"message")


async def take_messages(call: Any) -> None:
    for _ in range(MORE_THAN_FITS):
        await call.read()


async def do_nothing(_: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("operation", "go_on", "end"),
    [(read_one, send_a_message, "read ended"), (write_many, take_messages, "write ended")],
    ids=["read", "write"],
)
def test_operation_goes_on_when_its_handler_is_cancelled(
    operation: Any, go_on: Any, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_operations, "GRACE_SECONDS", 60.0)
    assert asyncio.run(end_of_the_last(operation, go_on)) == end


def test_operation_that_does_not_end_is_cancelled_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_operations, "GRACE_SECONDS", WAITING_SECONDS)
    assert asyncio.run(end_of_the_last(read_one, do_nothing)) == "read cancelled"
