"""Traces over OTLP, received by a collector: its own protocol over real gRPC and real HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pruning_proto.names import PRUNE_PATH
from tests.campaigns.calls import encoded, line_to
from tests.campaigns.cuts import model
from tests.campaigns.observed import RESERVED, gauge
from tests.servers import ServerProcess, running_server
from tests.service.raw import data, f32, file, l1, options, prune, wait_until
from tests.service.secured import health_of

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})
CALLERS_TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ERROR = 2


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What has been received, over either transport."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, context: Any = None) -> Any:  # noqa: ARG002, N802 - the protocol's
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def call(self, code: grpc.StatusCode) -> Span | None:
        """The span of the Prune call that ended with a code."""
        name, number = PRUNE_PATH.removeprefix("/"), code.value[0]
        return next((span for span in self.spans if span.name == name and status_code(span) == number), None)


def status_code(span: Span) -> int | None:
    return next((each.value.int_value for each in span.attributes if each.key == "rpc.grpc.status_code"), None)


@contextmanager
def over_grpc(collector: Collector) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None)


@contextmanager
def over_http(collector: Collector) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] is None:
                collector.Export(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def traced_server(monkeypatch: pytest.MonkeyPatch, endpoint: str, protocol: str = "grpc") -> Iterator[ServerProcess]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with running_server(traces="otlp") as server:
        yield server


def prune_in_a_trace(address: str, content: bytes) -> None:
    metadata = (("traceparent", f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"),)
    with grpc.insecure_channel(address) as channel:
        ask: Any = channel.stream_stream(PRUNE_PATH)
        list(ask(iter(encoded([options(content), *data(content)])), 20, metadata))


@pytest.mark.parametrize(
    ("receiving", "protocol"), [pytest.param(over_grpc, "grpc", id="grpc"), (over_http, "http/protobuf")]
)
def test_a_call_is_a_span_in_its_callers_trace(monkeypatch: pytest.MonkeyPatch, receiving: Any, protocol: str) -> None:
    collector = Collector()
    with receiving(collector) as endpoint, traced_server(monkeypatch, endpoint, protocol) as server:
        prune_in_a_trace(server.address, CONTENT)
        assert wait_until(lambda: collector.call(grpc.StatusCode.OK) is not None)

    call = collector.call(grpc.StatusCode.OK)
    assert call is not None
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (CALLERS_TRACE, CALLERS_SPAN)
    assert call.kind == Span.SPAN_KIND_SERVER
    assert call.status.code != ERROR
    stages = {span.name: span for span in collector.spans if span.parent_span_id == call.span_id}
    assert stages.keys() == {"admission", "receive", "prune", "send"}
    for stage in stages.values():
        assert call.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano
    names = {
        each.value.string_value
        for request in collector.requests
        for resource in request.resource_spans
        for each in resource.resource.attributes
        if each.key == "service.name"
    }
    assert names == {"pruning-service"}


def test_refused_and_cancelled_calls_have_their_status(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    large = model(8, 65_536)
    with over_grpc(collector) as endpoint, traced_server(monkeypatch, endpoint) as server:
        prune(server.address, CONTENT, rules=[l1(2.0)])
        health_of(server.address)
        with line_to(server.address) as line:
            call = line.unread(encoded([options(large), *data(large)]))
            assert wait_until(lambda: gauge(server, RESERVED) > 0)
            call.cancel()
        assert wait_until(lambda: collector.call(grpc.StatusCode.CANCELLED) is not None)

    refused, cancelled = collector.call(grpc.StatusCode.INVALID_ARGUMENT), collector.call(grpc.StatusCode.CANCELLED)
    assert refused is not None
    assert cancelled is not None
    assert refused.status.code != ERROR  # the caller's fault, by the conventions
    assert (cancelled.status.code, cancelled.status.message) == (ERROR, "CANCELLED")
    assert {each.value.string_value for each in refused.attributes} >= {"AMOUNT_OUT_OF_RANGE"}
    assert not any("Health" in span.name for span in collector.spans)  # probes would be most of a trace store
    assert "admission" in {span.name for span in collector.spans if span.parent_span_id == cancelled.span_id}


def test_last_spans_are_sent_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    with over_grpc(collector) as endpoint:
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with running_server(traces="otlp") as server:
            prune_in_a_trace(server.address, CONTENT)
            assert server.stop() == 0
    assert collector.call(grpc.StatusCode.OK) is not None


def test_a_collector_that_is_not_there_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with traced_server(monkeypatch, "http://127.0.0.1:1") as server:
        prune_in_a_trace(server.address, CONTENT)
        assert server.stop() == 0
    assert not any("leaving at once" in line for line in server.log)


def test_unknown_protocol_is_refused_at_the_start() -> None:
    environment = os.environ | {"PRUNING_TRACES": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}
    command = [sys.executable, "-m", "pruning_service", "--listen", "127.0.0.1:0", "--metrics-listen", "none"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is grpc or http/protobuf; got 'smoke'" in ended.stderr
