"""Messages of all methods but `Prune` are small, and are parsed here: overlong and malformed ones end their call.

gRPC would parse up to 4 MiB on the event loop, and log twenty lines for each message that it cannot parse.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from pruning_proto.limits import JOB_REQUEST_BYTES
from pruning_proto.names import PRUNE_CHECKPOINT_PATH, PRUNE_PATH

MOST_BYTES: Final = 4096
"""The longest message; those of reflection, health, operations and GetCapabilities have a few bytes."""

LONGER: Final = MappingProxyType({PRUNE_CHECKPOINT_PATH: JOB_REQUEST_BYTES})
"""The longest message of methods that take longer ones: the request of a job has the options of a call."""


class MessageRefusedError(Exception):
    """A message is too long or malformed; the text is the status of its call."""


class SmallMessages(grpc.aio.ServerInterceptor):
    """Parses the messages of streams other than `Prune`."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, wrapped if it takes a stream of small messages."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.stream_stream is None or handler_call_details.method == PRUNE_PATH:
            return handler
        return grpc.stream_stream_rpc_method_handler(_limited(handler), None, handler.response_serializer)


def _limited(handler: Any) -> Callable[[AsyncIterator[bytes], Any], Awaitable[None]]:
    async def limited(requests: AsyncIterator[bytes], context: Any) -> None:
        refused = await _answered(handler, requests, context)
        if refused is not None:  # by now nothing refers to the message: gRPC keeps the last error of a call
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, refused)

    return limited


async def _answered(handler: Any, requests: AsyncIterator[bytes], context: Any) -> str | None:
    """Have a handler answer; return why a message was refused, or None."""
    try:
        answering = handler.stream_stream(_parsed(requests, handler), context)
        if inspect.isawaitable(answering):
            await answering
            return None
        async with aclosing(answering) as responses:
            async for response in responses:
                await context.write(response)
    except MessageRefusedError as refused:
        return str(refused)
    return None


async def _parsed(requests: AsyncIterator[bytes], handler: Any) -> AsyncIterator[Any]:
    async for raw in requests:
        check_length(raw)
        try:
            message = handler.request_deserializer(raw)
        except DecodeError:
            raise MessageRefusedError("a message is not of the method's type") from None
        yield message


def check_length(raw: bytes, most_bytes: int = MOST_BYTES) -> None:
    """Raises: MessageRefusedError for a message that is too long."""
    if len(raw) > most_bytes:
        raise MessageRefusedError(f"a message of the method has at most {most_bytes:,} bytes")
