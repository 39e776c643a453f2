"""A deadline for the one message of a unary call: until it has come, nobody knows who calls or what for.

gRPC begins a unary handler only once its message is complete, however long that takes, and holds up to 4 MiB of it. So
the handler is a stream's as far as gRPC knows; nothing on the wire tells the two apart.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from pruning_service.deadlines import FIRST_MESSAGE_SECONDS


class FirstMessageDeadline(grpc.aio.ServerInterceptor):
    """Ends unary calls whose message does not come in time. To be the outermost interceptor."""

    def __init__(self, seconds: float = FIRST_MESSAGE_SECONDS) -> None:
        self._seconds = seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, with a deadline if it takes one message."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        behavior = handler.unary_unary or handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(self._timed(behavior), handler.request_deserializer, handler.response_serializer)

    def _timed(self, behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[AsyncIterator[Any], Any], Any]:
        async def timed(requests: AsyncIterator[Any], context: Any) -> Any:
            return await behavior(await self._message(requests, context), context)

        return timed

    async def _message(self, requests: AsyncIterator[Any], context: Any) -> Any:
        reading = asyncio.ensure_future(_first(requests))
        reading.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # retrieved, also when nobody waits
        try:
            await asyncio.wait({reading}, timeout=self._seconds)
            if not reading.done():
                text = f"the message of the call did not come within {self._seconds:g} s"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        finally:
            if not reading.done():
                reading.cancel()  # only now: it would keep the call from ending with its status
        message = reading.result()
        if message is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        return message


async def _first(requests: AsyncIterator[Any]) -> Any:
    async for message in requests:
        return message
    return None
