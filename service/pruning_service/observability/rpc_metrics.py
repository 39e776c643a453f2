"""Counts every call under go-grpc-middleware's names, and traces it, by wrapping its handler.

It is the outermost interceptor, so that calls which other interceptors refuse are counted too. Calls of unknown methods
are not counted: their names are chosen by the caller.

It differs from the middleware, which counts the end of a client's stream as a message received and a unary call that
fails as a message sent: here only messages are counted.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware, interceptors/server.go, providers/prometheus/reporter.go.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc import StatusCode

from pruning_service.observability.metrics import Metrics, RpcSeries
from pruning_service.observability.traces import CallSpan, Traces, current

_MAKERS: Final = {
    (False, False): (grpc.unary_unary_rpc_method_handler, "unary"),
    (False, True): (grpc.unary_stream_rpc_method_handler, "server_stream"),
    (True, False): (grpc.stream_unary_rpc_method_handler, "client_stream"),
    (True, True): (grpc.stream_stream_rpc_method_handler, "bidi_stream"),
}
"""By (request streams, response streams): the function that makes a handler, and the middleware's word for its kind."""

_BY_NUMBER: Final = {code.value[0]: code for code in StatusCode}

_DISCONNECTED: Final = (asyncio.CancelledError, GeneratorExit, grpc.aio.InternalError)
"""The exceptions of a handler whose client has disconnected; the last one if it was writing."""

_ROUNDING: Final = 0.01
"""gRPC rounds a deadline up by at most this part when it sends it. Source: Timeout in chttp2's timeout_encoding.cc."""

_EARLY_SECONDS: Final = 0.05
"""How long before the server's deadline the client's cancellation for the same deadline may arrive."""


class MetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls, messages and seconds by method.

    The series of `services` exist before their first call, and only their calls are traced: not health checks.
    """

    def __init__(
        self, metrics: Metrics, services: Collection[ServiceDescriptor] = (), traces: Traces | None = None
    ) -> None:
        self._metrics = metrics
        self._traces = traces
        self._traced = {service.full_name for service in services}
        self._series: dict[str, RpcSeries] = {}
        for service in services:
            for method in service.methods:
                _, kind = _MAKERS[method.client_streaming, method.server_streaming]
                self._series_of(f"/{service.full_name}/{method.name}", kind)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the call's handler, wrapped; None for an unknown method."""
        handler = await continuation(handler_call_details)
        return handler and self._wrap(handler, handler_call_details.method)

    def _wrap(self, handler: Any, path: str) -> Any:
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        make, kind = _MAKERS[handler.request_streaming, handler.response_streaming]
        series = self._series_of(path, kind)

        def begin(context: Any) -> _Call:
            return _Call(series, context, self._span(path, context))

        counted = _counted(behavior, series, handler, begin)
        return make(counted, handler.request_deserializer, handler.response_serializer)

    def _span(self, path: str, context: Any) -> CallSpan | None:
        if self._traces is None:
            return None
        service, method = _names(path)
        if service not in self._traced:
            return None
        return self._traces.begin(service, method, context.invocation_metadata() or ())

    def _series_of(self, path: str, kind: str) -> RpcSeries:
        if path not in self._series:  # a method that is known keeps its kind, whatever wraps its handler
            service, method = _names(path)
            self._series[path] = self._metrics.rpc(kind, service, method)
        return self._series[path]


def _names(path: str) -> tuple[str, str]:
    """Return the service and the method of a path such as "/pruning.v1.PruningService/Prune"."""
    service, _, method = path.removeprefix("/").rpartition("/")
    return service, method


def _counted(behavior: Any, series: RpcSeries, handler: Any, begin: "Callable[[Any], _Call]") -> Any:
    """Return a handler's behavior, counted. All kinds become coroutines, which end in one place."""

    async def unary(request: Any, context: Any) -> Any:
        with begin(context):
            series.count_received()
            response = await behavior(request, context)
            series.count_sent()
            return response

    async def streaming(request: Any, context: Any) -> Any:
        with begin(context):
            counting = _CountingContext(context, series)
            if handler.request_streaming:
                request = _CountedMessages(request, series.count_received)
            else:
                series.count_received()
            if inspect.isasyncgenfunction(behavior):
                return await _written(behavior(request, counting), context, series.count_sent)
            response = await behavior(request, counting)
            if not handler.response_streaming:
                series.count_sent()
            return response

    return streaming if handler.request_streaming or handler.response_streaming else unary


async def _written(responses: Any, context: Any, count: Callable[[], None]) -> None:
    """Write the responses of a generator, as gRPC would; if that fails, close the generator at once.

    gRPC leaves that to the garbage collector: the call would end later, for an unknown reason.
    """
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)
            count()
            del response  # it may hold a large tensor


class _Call:
    """Counts the start and the end of one call."""

    __slots__ = ("_begin", "_context", "_series", "_span")

    def __init__(self, series: RpcSeries, context: Any, span: CallSpan | None) -> None:
        self._series = series
        self._context = context
        self._span = span

    def __enter__(self) -> None:
        self._begin = time.perf_counter()
        self._series.count_started()
        if self._span is not None:
            current.set(self._span)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        seconds = time.perf_counter() - self._begin
        code = _code(self._context, error, seconds)
        self._series.count_handled(code, seconds)
        if self._span is not None:
            self._span.end(code)


class _CountedMessages:
    """A client's messages, counted as they are read. It keeps none, as a generator would until the next one."""

    __slots__ = ("_count", "_messages")

    def __init__(self, messages: AsyncIterator[Any], count: Callable[[], None]) -> None:
        self._messages = messages
        self._count = count

    def __aiter__(self) -> "_CountedMessages":
        return self

    async def __anext__(self) -> Any:
        message = await self._messages.__anext__()  # `anext` would add a layer
        self._count()
        return message


class _CountingContext:
    """A call's context that counts, for handlers that read requests and write responses themselves."""

    __slots__ = ("_context", "_series")

    def __init__(self, context: Any, series: RpcSeries) -> None:
        self._context = context
        self._series = series

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        message = await self._context.read()
        if message is not grpc.aio.EOF:
            self._series.count_received()
        return message

    async def write(self, message: Any) -> None:
        await self._context.write(message)
        self._series.count_sent()


def _code(context: Any, error: BaseException | None, seconds: float) -> StatusCode:
    """Return the status of a call that ended after `seconds`, as its caller sees it."""
    if isinstance(error, _DISCONNECTED) and not context.done():
        return StatusCode.DEADLINE_EXCEEDED if _has_run_out(context, seconds) else StatusCode.CANCELLED
    code = _BY_NUMBER.get(context.code(), context.code()) or StatusCode.OK
    return StatusCode.UNKNOWN if error is not None and code is StatusCode.OK else code


def _has_run_out(context: Any, seconds: float) -> bool:
    """Whether a call ends at its deadline: its client cancels it in the same way as when it gives up."""
    left = context.time_remaining()
    return left is not None and left <= _EARLY_SECONDS + _ROUNDING * (seconds + left)
