"""Limits of the wait for the one message of a unary call: until it has come, nobody knows what the call is for.

gRPC begins a unary handler only once its message is complete, however long that takes, and holds up to 4 MiB of it. So
the handler is a stream's as far as gRPC knows, which asks for the message when it wants it; nothing on the wire tells
the two apart. A call that is rejected for its metadata never asks for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from pruning_service.deadlines import FIRST_MESSAGE_SECONDS
from pruning_service.rpc.reading_turns import ReadingTurns
from pruning_service.rpc.received_messages import ReceivedMessages
from pruning_service.rpc.small_messages import LONGER, MOST_BYTES, MessageRefusedError, check_length

WAITING_CALLS: Final = 64
"""The most calls that wait for their message; each may have 4 MiB of it in memory."""

_UNAVAILABLE: Final = "too many calls wait for their message; send it at once"


class _Waiting:
    """A number of calls that wait; one more ends the wait of the one that has waited longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: deque[asyncio.Future[None]] = deque()

    async def wait(self, reading: "asyncio.Future[bytes | None]", seconds: float) -> bool:
        """Wait until a message has been read, or its time is over; return whether the call need not make way."""
        made_way = asyncio.get_running_loop().create_future()
        self._calls.append(made_way)
        if len(self._calls) > self._most:
            self._calls.popleft().set_result(None)
        try:
            await asyncio.wait({reading, made_way}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not made_way.done():
                self._calls.remove(made_way)
        return not made_way.done()


class FirstMessageLimits(grpc.aio.ServerInterceptor):
    """Ends unary calls whose message does not come in time, or that wait while others do. To be the outermost one."""

    def __init__(self, open_service: str, seconds: float = FIRST_MESSAGE_SECONDS) -> None:
        """`open_service`: the full name of the service that needs no token."""
        self._seconds = seconds
        self._open_path = f"/{open_service}/"
        self._waiting = _Waiting(WAITING_CALLS)
        self._turns = ReadingTurns()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, with the limits if it takes one message, which it has to parse by itself."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        behavior = handler.unary_unary or handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        method = handler_call_details.method
        read = self._read_in_turn if method.startswith(self._open_path) else self._read
        limited = self._limited(behavior, read, LONGER.get(method, MOST_BYTES))
        return make(limited, None, handler.response_serializer)

    def _limited(
        self,
        behavior: Callable[[Any, Any], Awaitable[Any]],
        read: Callable[[Any, int], Awaitable[bytes | None]],
        most_bytes: int,
    ) -> Callable[[AsyncIterator[Any], Any], Any]:
        async def limited(_: AsyncIterator[Any], context: Any) -> Any:
            message = await read(context, most_bytes)
            return await behavior(await self._checked(message, most_bytes, context), context)

        return limited

    async def _read(self, context: Any, most_bytes: int) -> bytes | None:
        return await self._message(context, most_bytes, lambda reading: self._waiting.wait(reading, self._seconds))

    async def _read_in_turn(self, context: Any, most_bytes: int) -> bytes | None:
        """Read a message that needs no token. What was not taken of it is dropped before the next call has its turn."""
        end = time.monotonic() + self._seconds
        async with self._turns.turn(context.peer(), self._seconds) as has_turn:
            if not has_turn:
                await context.abort(grpc.StatusCode.UNAVAILABLE, _UNAVAILABLE)
            return await self._message(context, most_bytes, lambda reading: self._turns.wait(reading, end))

    async def _message(
        self,
        context: Any,
        most_bytes: int,
        wait: "Callable[[asyncio.Future[bytes | None]], Awaitable[bool]]",
    ) -> bytes | None:
        reading = asyncio.ensure_future(_first(context, most_bytes))
        reading.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # retrieved, also when nobody waits
        try:
            has_time = await wait(reading)
            if not reading.done():
                await self._end(context, has_time=has_time)
        finally:
            if not reading.done():
                reading.cancel()  # only now: it would keep the call from ending with its status
        return reading.result()

    async def _checked(self, message: bytes | None, most_bytes: int, context: Any) -> bytes | None:
        if message is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        else:
            await self._check_length(message, most_bytes, context)
        return message

    @staticmethod
    async def _check_length(message: bytes, most_bytes: int, context: Any) -> None:
        try:
            check_length(message, most_bytes)
        except MessageRefusedError as refused:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))

    async def _end(self, context: Any, *, has_time: bool) -> None:
        if has_time:
            text = f"the message of the call did not come within {self._seconds:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        await context.abort(grpc.StatusCode.UNAVAILABLE, _UNAVAILABLE)


async def _first(context: Any, most_bytes: int) -> bytes | None:
    """Return the first message of a call; of one that is too long, only so much that it is seen to be."""
    async for message in ReceivedMessages(context):
        return message[: most_bytes + 1]
    return None
