"""All metrics of the service, with their units; no label has values that a caller can choose freely.

`grpc_server_*` have the names and labels of go-grpc-middleware, so that dashboards and alerts made for it work.
`docs/metrics.md` is the manual, and a test compares the two. Series whose labels are known in advance exist from the
start, at 0: Prometheus cannot see a rate in the step from no series to 1.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware, providers/prometheus/server_metrics.go.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from grpc import StatusCode
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.recipe import Scope
from pruning_proto.reasons import Reason
from pruning_service.observability.job_metrics import JobMetrics

SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
"""Buckets of durations: Go's defaults, from 5 ms to 10 s, and more on both sides. An empty call takes one or two
milliseconds; 8 GB over a line of 10 MB/s take 13 minutes."""

SPARSITIES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
STAGES: Final = ("receive", "search", "prune", "send", "total")
SECRETS: Final = ("tls", "tokens")
OUTCOMES: Final = ("pruned", "kept")
RPC: Final = ("grpc_type", "grpc_service", "grpc_method")

CODES: Final = {
    code: "".join(word.capitalize() for word in code.name.split("_"))
    for code in StatusCode
} | {StatusCode.OK: "OK", StatusCode.CANCELLED: "Canceled"}  # fmt: skip
"""Each status code as Go spells it and dashboards expect it: `InvalidArgument`, with one l in `Canceled`."""


class Metrics:
    """The metrics of one server, in their own registry."""

    def __init__(self, version: str, device: str, kernels: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double every series, and no dashboard reads them
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._declare_rpcs()
        self._declare_work()
        self._declare_capacity()
        self._declare_secrets()
        self.jobs = JobMetrics(self.registry)
        self._create_known_series()
        Gauge(
            "pruning_build_info",
            "Always 1; the labels describe the server.",
            ("version", "device", "kernels"),
            registry=self.registry,
        ).labels(version, device, kernels).set(1)

    def rpc(self, kind: str, service: str, method: str) -> "RpcSeries":
        """Return the series of one RPC, and create them. `kind` is the middleware's word for how the RPC streams."""
        return RpcSeries(self, (kind, service, method))

    def _declare_rpcs(self) -> None:
        self.started = self._counter("grpc_server_started", "RPCs started.", RPC)
        self.handled = self._counter("grpc_server_handled", "RPCs completed, by status code.", (*RPC, "grpc_code"))
        self.handling_seconds = self._histogram(
            "grpc_server_handling_seconds", "Seconds from the start of an RPC to its end.", RPC, SECONDS
        )
        self.messages_received = self._counter("grpc_server_msg_received", "Messages received from clients.", RPC)
        self.messages_sent = self._counter("grpc_server_msg_sent", "Messages sent to clients.", RPC)

    def _declare_work(self) -> None:
        self.stage_seconds = self._histogram(
            "pruning_stage_seconds", "Seconds of a finished call's stage; stages overlap.", ("stage",), SECONDS
        )
        self.traffic = Traffic()
        self.registry.register(self.traffic)
        self.parameters = self._counter(
            "pruning_parameters",
            "Entries of selected tensors in finished calls, by what became of them: pruned or kept.",
            ("outcome",),
        )
        self.sparsity = self._histogram(
            "pruning_sparsity_ratio",
            "Pruned part of all selected entries of a finished call, by its last rule's scope and granularity.",
            ("scope", "granularity"),
            SPARSITIES,
        )
        self.refusals = self._counter(
            "pruning_refusals", "Calls that the server ended without a result, by reason.", ("reason",)
        )

    def _declare_capacity(self) -> None:
        self.in_flight = self._gauge("requests_in_flight", "Prune calls under way, until their last thread has ended.")
        self.waiting = self._gauge("requests_waiting", "Prune calls that wait for memory of a budget.")
        self.reserved_bytes = self._gauge("reserved_bytes", "Bytes of the budget reserved for models in calls.")
        self.budget_bytes = self._gauge("budget_bytes", "Bytes that calls may reserve together.")
        self.spooled_bytes = self._gauge("spooled_bytes", "Bytes on disk that calls under way keep their tensors in.")
        self.device_memory_bytes = self._gauge(
            "device_memory_bytes", "Bytes of device memory that torch holds; 0 on the CPU."
        )
        self.device_capacity_bytes = self._gauge(
            "device_capacity_bytes", "Bytes of memory that the device has; 0 on the CPU."
        )
        self.device_budget_bytes = self._gauge(
            "device_budget_bytes", "Bytes of device memory that calls may reserve together; 0 on the CPU."
        )
        self.device_reserved_bytes = self._gauge(
            "device_reserved_bytes", "Bytes of device memory reserved for calls; 0 on the CPU."
        )
        self.device_lost = self._gauge(
            "device_lost", "1 once the device failed for good; the server then ends, in seconds."
        )

    def _declare_secrets(self) -> None:
        self.secrets_stale = Gauge(
            "pruning_secrets_stale",
            "1 while files of secrets, tls or tokens, cannot be used and what they held before is.",
            ("secret",),
            registry=self.registry,
        )
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the certificate in use expires, in Unix time; 0 without TLS."
        )

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"pruning_{name}", meaning, registry=self.registry)

    def _create_known_series(self) -> None:
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for outcome in OUTCOMES:
            self.parameters.labels(outcome)
        for scope in Scope:
            for granularity in GRANULARITIES:
                self.sparsity.labels(scope.value, granularity)
        for secret in SECRETS:
            self.secrets_stale.labels(secret)
        for reason in Reason:
            self.refusals.labels(reason.value)


class RpcSeries:
    """The series of one RPC, looked up once: a look-up takes longer than counting."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str]) -> None:
        self.count_started: Callable[[], None] = metrics.started.labels(*labels).inc
        self.count_received: Callable[[], None] = metrics.messages_received.labels(*labels).inc
        self.count_sent: Callable[[], None] = metrics.messages_sent.labels(*labels).inc
        self._observe = metrics.handling_seconds.labels(*labels).observe
        self._handled = {code: metrics.handled.labels(*labels, name) for code, name in CODES.items()}

    def count_handled(self, code: StatusCode, seconds: float) -> None:
        """Count a completed call."""
        self._handled[code].inc()
        self._observe(seconds)


class _Incoming(Protocol):
    received_bytes: int


class _Outgoing(Protocol):
    sent_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Flow:
    """The two streams of one call."""

    incoming: _Incoming
    outgoing: _Outgoing


class Traffic(Collector):
    """Bytes of models received and of results sent, including those of running calls: long calls show while they run.

    Calls count their own bytes, which are read when Prometheus scrapes, so that messages cost nothing extra.
    """

    def __init__(self) -> None:
        self._received_bytes = 0
        self._sent_bytes = 0
        self._flows: set[_Flow] = set()
        self._lock = threading.Lock()  # scrapes run in other threads

    @contextmanager
    def counted(self, incoming: _Incoming, outgoing: _Outgoing) -> Iterator[None]:
        """Count the bytes of the call that runs inside the block."""
        flow = _Flow(incoming, outgoing)
        with self._lock:
            self._flows.add(flow)
        try:
            yield
        finally:
            with self._lock:
                self._flows.remove(flow)
                self._received_bytes += incoming.received_bytes
                self._sent_bytes += outgoing.sent_bytes

    def collect(self) -> Iterable[Metric]:
        """Return the current value of both counters."""
        with self._lock:
            received_bytes = self._received_bytes + sum(flow.incoming.received_bytes for flow in self._flows)
            sent_bytes = self._sent_bytes + sum(flow.outgoing.sent_bytes for flow in self._flows)
        yield CounterMetricFamily("pruning_received_bytes", "Bytes of models received.", received_bytes)
        yield CounterMetricFamily("pruning_sent_bytes", "Bytes of results sent.", sent_bytes)
