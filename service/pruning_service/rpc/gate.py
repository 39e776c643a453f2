"""The door of the main port: who may come in, and how many at once. Health stays open to everybody.

A call whose token is not known is refused before any of its messages is parsed; so is a Prune call where as many as
the server takes are under way. Those whom mTLS does not let in never get so far: they have no connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

import grpc
from grpc_health.v1 import health

from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_service.auth.callers import Callers, caller, name_of
from pruning_service.observability.metrics import Metrics
from pruning_service.rpc.rejections import Rejector
from pruning_service.status import Refusal

RETRY_SECONDS: Final = 1.0

_HEALTH: Final = f"/{health.SERVICE_NAME}/"


class Gate(grpc.aio.ServerInterceptor):
    """Lets calls in, or refuses them."""

    def __init__(self, callers: Callers, max_calls: int, metrics: Metrics) -> None:
        self._callers = callers
        self._max_calls = max_calls
        self._calls = 0
        self._refuser = Rejector(metrics)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Give the call's handler, or one that refuses it; an unknown method has none."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_HEALTH):
            return handler
        try:
            token_name = self._callers.by_token(handler_call_details.invocation_metadata or ())
        except Refusal as refusal:
            return self._refusing(handler, method, refusal)
        return self._letting_in(handler, token_name) if method == PRUNE_PATH else handler

    def _refusing(self, handler: Any, method: str, refusal: Refusal) -> Any:
        async def tell(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            caller.set(name_of(None, context))
            async with aclosing(self._refuser.prune(refusal, requests, context)) as responses:
                async for response in responses:
                    yield response

        async def end(_: Any, context: Any) -> None:
            caller.set(name_of(None, context))
            await self._refuser.abort(refusal, method.rpartition("/")[2], context)

        # Without a deserializer: nobody parses what somebody unknown sends.
        if method == PRUNE_PATH:
            return grpc.stream_stream_rpc_method_handler(tell, None, handler.response_serializer)
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(end, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(end, None, handler.response_serializer)

    def _letting_in(self, handler: Any, token_name: str | None) -> Any:
        async def prune(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            caller.set(name_of(token_name, context))
            with self._place() as refusal:
                if refusal is None:
                    responses = handler.stream_stream(requests, context)
                else:
                    responses = self._refuser.prune(refusal, requests, context)
                async with aclosing(responses):
                    async for response in responses:
                        yield response

        return grpc.stream_stream_rpc_method_handler(prune, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _place(self) -> Iterator[Refusal | None]:
        """Take a place while inside, if there is one; else give why not."""
        if self._calls >= self._max_calls:
            yield self._full()
            return
        self._calls += 1
        try:
            yield None
        finally:
            self._calls -= 1

    def _full(self) -> Refusal:
        return Refusal(
            reason=Reason.TOO_MANY_CALLS,
            message=f"{self._max_calls} calls are under way, and the server takes no more at once "
            "(PRUNING_MAX_CALLS); try again later",
            metadata={"max_calls": str(self._max_calls)},
            retry_seconds=RETRY_SECONDS,
        )
