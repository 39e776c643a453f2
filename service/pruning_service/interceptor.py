"""Counts every call under go-grpc-middleware's names, by wrapping its handler from outside.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware, providers/prometheus.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode

from pruning_service.metrics import Metrics

_MAKERS = {
    (False, False): (grpc.unary_unary_rpc_method_handler, "unary"),
    (False, True): (grpc.unary_stream_rpc_method_handler, "server_stream"),
    (True, False): (grpc.stream_unary_rpc_method_handler, "client_stream"),
    (True, True): (grpc.stream_stream_rpc_method_handler, "bidi_stream"),
}
"""By (request streams, response streams): what makes a handler, and the middleware's word for its kind."""


class MetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls, messages and seconds by method."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Give the call's handler, wrapped; an unknown method has none."""
        handler = await continuation(handler_call_details)
        return handler and _wrapped(handler, handler_call_details.method, self._metrics)


class _Call:
    """One call as it is counted, from `with` to its end."""

    def __init__(self, metrics: Metrics, labels: tuple[str, ...], context: Any) -> None:
        self._metrics = metrics
        self._labels = labels
        self._context = context
        self.count_received = metrics.messages_received.labels(*labels).inc
        self.count_sent = metrics.messages_sent.labels(*labels).inc

    def __enter__(self) -> "_Call":
        self._begin = time.perf_counter()
        self._metrics.started.labels(*self._labels).inc()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = _code(self._context, error)
        self._metrics.handled.labels(*self._labels, _camel(code)).inc()
        self._metrics.handling_seconds.labels(*self._labels).observe(time.perf_counter() - self._begin)

    async def received(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in messages:
            self.count_received()
            yield message


class _CountingContext:
    """A call's context for handlers that write their responses instead of yielding them."""

    def __init__(self, context: Any, call: _Call) -> None:
        self._context = context
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        await self._context.write(message)
        self._call.count_sent()


def _wrapped(handler: Any, path: str, metrics: Metrics) -> Any:
    behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    make, kind = _MAKERS[handler.request_streaming, handler.response_streaming]
    service, _, method = path.removeprefix("/").rpartition("/")
    labels = (kind, service, method)

    def way_in(request: Any, call: _Call) -> Any:
        if handler.request_streaming:
            return call.received(request)
        call.count_received()
        return request

    async def answer(request: Any, context: Any) -> Any:
        with _Call(metrics, labels, context) as call:
            response = await behavior(way_in(request, call), _CountingContext(context, call))
            if not handler.response_streaming:
                call.count_sent()
            return response

    async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
        with _Call(metrics, labels, context) as call:
            async for response in behavior(way_in(request, call), context):
                yield response
                call.count_sent()

    wrapper = generate if inspect.isasyncgenfunction(behavior) else answer
    return make(wrapper, handler.request_deserializer, handler.response_serializer)


def _code(context: Any, error: BaseException | None) -> StatusCode:
    told = context.code()
    if told:
        return told if isinstance(told, StatusCode) else _BY_NUMBER[told]
    if error is None:
        return StatusCode.OK
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        left = context.time_remaining()
        return StatusCode.DEADLINE_EXCEEDED if left is not None and left <= 0 else StatusCode.CANCELLED
    return StatusCode.UNKNOWN


_BY_NUMBER = {code.value[0]: code for code in StatusCode}


def _camel(code: StatusCode) -> str:
    """Give a code as Go spells it, and dashboards expect it: `InvalidArgument`, `OK`."""
    return "OK" if code is StatusCode.OK else "".join(word.capitalize() for word in code.name.split("_"))
