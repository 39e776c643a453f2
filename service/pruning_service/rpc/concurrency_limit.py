"""How many Prune calls may be under way: more are rejected before any of their messages is parsed.

A call is under way until its last thread has ended and its memory is free, which may be after its client has left.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sized
from contextlib import aclosing
from typing import Any, Final

import grpc

from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_service.rpc.call_log import Context
from pruning_service.rpc.rejections import Rejector
from pruning_service.status import Refusal

RETRY_SECONDS: Final = 1.0


class ConcurrencyLimiter(grpc.aio.ServerInterceptor):
    """Passes on Prune calls as long as fewer than `max_calls` are `running`, and rejects others.

    The handler has to add a call to `running` before it waits for anything, so that none is missed here.
    """

    def __init__(self, max_calls: int, running: Sized, rejector: Rejector) -> None:
        self._max_calls = max_calls
        self._running = running
        self._rejector = rejector

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler; that of Prune counts its calls."""
        handler = await continuation(handler_call_details)
        return self._limited(handler) if handler and handler_call_details.method == PRUNE_PATH else handler

    def _limited(self, handler: Any) -> Any:
        async def prune(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            if len(self._running) < self._max_calls:
                responses = handler.stream_stream(requests, context)
            else:
                responses = self._rejector.prune(self._full(), context)
            async with aclosing(responses):
                async for response in responses:
                    yield response

        return grpc.stream_stream_rpc_method_handler(prune, handler.request_deserializer, handler.response_serializer)

    def _full(self) -> Refusal:
        return Refusal(
            reason=Reason.TOO_MANY_CALLS,
            message=f"{self._max_calls} calls are under way, and the server takes no more at once "
            "(PRUNING_MAX_CALLS); try again later",
            metadata={"max_calls": str(self._max_calls)},
            retry_seconds=RETRY_SECONDS,
        )
