"""Who may call: tokens are checked before any message of a call is parsed. Health stays open to everybody.

Clients without a certificate that mTLS accepts never get this far: they have no connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc

from pruning_proto.names import PRUNE_PATH
from pruning_service.auth.callers import Callers, caller, caller_token, name_of
from pruning_service.observability.serving_status import SERVICE_NAME
from pruning_service.rpc.call_log import Context
from pruning_service.rpc.rejections import Rejector
from pruning_service.status import Refusal

_HEALTH: Final = f"/{SERVICE_NAME}/"


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Passes on the calls of known callers, whose name is then `caller`, and rejects others."""

    def __init__(self, callers: Callers, rejector: Rejector) -> None:
        self._callers = callers
        self._rejector = rejector

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, or one that rejects it; an unknown method has none."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_HEALTH):
            return handler
        try:
            token_name = self._callers.by_token(handler_call_details.invocation_metadata or ())
        except Refusal as refusal:
            return self._rejecting(handler, method, refusal)
        if method == PRUNE_PATH:
            return _naming(handler, token_name)
        return handler if handler.unary_unary is None else _naming_unary(handler, token_name)

    def _rejecting(self, handler: Any, method: str, refusal: Refusal) -> Any:
        async def prune(_: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            caller.set(name_of(None, context))
            async with aclosing(self._rejector.prune(refusal, context)) as responses:
                async for response in responses:
                    yield response

        async def other(_: Any, context: Context) -> None:
            caller.set(name_of(None, context))
            await self._rejector.abort(refusal, method.rpartition("/")[2], context)

        # Without a deserializer, nothing that an unknown caller sends is parsed; and a stream's handler gets no message
        # that it does not ask for, so that the one of a unary call is not received either.
        if method == PRUNE_PATH or handler.response_streaming:
            rejecting = prune if method == PRUNE_PATH else other
            return grpc.stream_stream_rpc_method_handler(rejecting, None, handler.response_serializer)
        return grpc.stream_unary_rpc_method_handler(other, None, handler.response_serializer)


def _naming(handler: Any, token_name: str | None) -> Any:
    """Return a Prune handler that names its caller first."""

    async def prune(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        caller.set(name_of(token_name, context))
        async with aclosing(handler.stream_stream(requests, context)) as responses:
            async for response in responses:
                yield response

    return grpc.stream_stream_rpc_method_handler(prune, handler.request_deserializer, handler.response_serializer)


def _naming_unary(handler: Any, token_name: str | None) -> Any:
    """Return the handler of a call with one message each way that names its caller first."""

    async def call(request: Any, context: Context) -> Any:
        caller.set(name_of(token_name, context))
        caller_token.set(token_name or "")
        return await handler.unary_unary(request, context)

    return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)
