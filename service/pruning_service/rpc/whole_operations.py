"""Reads and writes of a call go on to their end when whoever waits for them is cancelled.

grpc.aio frees what it made for a read or a write where that returns. One that is cancelled never does, and keeps its
operation and metadata for good: 100 bytes or more for each call that a client cancels, in pages of the heap that
cannot be returned (findings/grpc_aio_never_frees_cancelled_operations.sh).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import grpc

from pruning_service.rpc.received_messages import ReceivedMessages

GRACE_SECONDS: Final = 1.0
"""A read or write of a call that has ended returns at once. One that has not is cancelled after this time: it refers to
the call, and gRPC resets the stream of a call that ended without a status when nothing refers to it any more."""


class WholeOperations(grpc.aio.ServerInterceptor):
    """Has handlers read and write through `_WholeOperationsContext`. It is for handlers that take a stream."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, with another context."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.response_streaming:
            whole, make = _whole(handler.stream_stream), grpc.stream_stream_rpc_method_handler
        else:
            whole, make = _whole(handler.stream_unary), grpc.stream_unary_rpc_method_handler
        return make(whole, handler.request_deserializer, handler.response_serializer)


def _whole(behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def whole(_: Any, context: Any) -> Any:
        context = _WholeOperationsContext(context)
        return await behavior(ReceivedMessages(context), context)

    return whole


class _WholeOperationsContext:
    """A call's context whose reads and writes go on when they are not waited for any more."""

    __slots__ = ("_context",)

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def send_initial_metadata(self, metadata: Any) -> None:
        await _to_its_end(self._context.send_initial_metadata(metadata))

    async def read(self) -> Any:
        return await _to_its_end(self._context.read())

    async def write(self, message: Any) -> None:
        await _to_its_end(self._context.write(message))


async def _to_its_end(operation: Coroutine[Any, Any, Any]) -> Any:
    task = asyncio.ensure_future(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved, though nobody waits
        task.get_loop().call_later(GRACE_SECONDS, task.cancel)
        raise
