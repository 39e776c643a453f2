"""Traces of calls over OTLP: a span for each call, in the caller's trace, with a span for each of its stages.

Where they go is said by OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT. gRPC's own
instrumentation leaves the status of cancelled and aborted calls unset; here each call has the status that its caller
sees.

Source: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ for the attributes, and for the variables
https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeAlias

from grpc import StatusCode

from pruning_service.local_settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
Intervals: TypeAlias = Mapping[str, tuple[int, int]]

_SERVICE_NAME: Final = "pruning-service"

_FAULTS: Final = frozenset(
    {
        *(StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNIMPLEMENTED, StatusCode.INTERNAL),
        *(StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS),
    }
)
"""Codes that are the server's fault in the sense of the conventions; a span of CANCELLED is an error here, too."""


class CallSpan:
    """The span of one call, from its beginning. `end` ends it once."""

    def __init__(self, tracer: "Tracer", span: "Span") -> None:
        self._tracer = tracer
        self._span = span

    def add(self, intervals: Intervals, attributes: Mapping[str, str | int]) -> None:
        """Add spans of stages, which may be over, and what is known of the call."""
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        parent = set_span_in_context(self._span)
        for stage, (begin, end) in intervals.items():
            self._tracer.start_span(stage, parent, start_time=begin).end(end)
        self._span.set_attributes(attributes)

    def end(self, code: StatusCode) -> None:
        """End the call with its status."""
        from opentelemetry.trace import Status  # noqa: PLC0415 - an extra
        from opentelemetry.trace import StatusCode as SpanStatus  # noqa: PLC0415

        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in _FAULTS or code is StatusCode.CANCELLED:
            self._span.set_status(Status(SpanStatus.ERROR, code.name))
        self._span.end()


current: ContextVar[CallSpan | None] = ContextVar("span", default=None)
"""The span of the call whose task this is; None: calls are not traced."""


class Traces:
    """Spans of a server's calls."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer

    def begin(self, service: str, method: str, metadata: Metadata) -> CallSpan:
        """Begin the span of a call, below the one that its caller's `traceparent` names."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        span = self._tracer.start_span(
            f"{service}/{method}",
            TraceContextTextMapPropagator().extract(carrier),
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        return CallSpan(self._tracer, span)


def traced(exporter: str, version: str) -> AbstractContextManager[Traces | None]:
    """Return the traces of a server, which are sent until the end of the block. `exporter`: `none` or `otlp`.

    Raises: SettingsError if the packages for it are not installed, or a variable of OpenTelemetry's has no meaning.
    """
    return _untraced() if exporter == "none" else _traced(version)


@contextmanager
def _untraced() -> Iterator[None]:
    yield None


@contextmanager
def _traced(version: str) -> Iterator[Traces]:
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        exporter = _exporter()
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"traces (PRUNING_TRACES=otlp) need more packages (no {error.name}): pip install 'pruning-service[otel]'"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", _SERVICE_NAME)
    provider = TracerProvider(
        resource=Resource.create({"service.name": name, "service.version": version}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Traces(provider.get_tracer("pruning_service", version))
    finally:
        provider.shutdown()


def _exporter() -> "SpanExporter":
    """Return the exporter of the protocol that OpenTelemetry's variables name."""
    variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((value for name in variables if (value := os.environ.get(name))), "grpc")
    make = _EXPORTERS.get(protocol)
    if make is None:
        raise SettingsError(f"{variables[1]} is {' or '.join(_EXPORTERS)}; got {protocol!r}")
    return make()


def _grpc() -> "SpanExporter":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()


def _http() -> "SpanExporter":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()


_EXPORTERS: Final[Mapping[str, "Callable[[], SpanExporter]"]] = {"grpc": _grpc, "http/protobuf": _http}
