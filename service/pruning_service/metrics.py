"""Every metric of the service, with its unit, in one place; no label that a caller can choose freely.

`grpc_server_*` have the names and labels of go-grpc-middleware, so that dashboards made for it work.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SPARSITIES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_CALL: Final = ("grpc_type", "grpc_service", "grpc_method")


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, version: str, device: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they double every series, and nobody's dashboards read them
        self.registry = CollectorRegistry()
        self._declare_calls()
        self._declare_pruning()
        Gauge(
            "pruning_build_info", "Always 1; the labels tell what runs.", ("version", "device"), registry=self.registry
        ).labels(version, device).set(1)

    def _declare_calls(self) -> None:
        registry = self.registry
        self.started = Counter("grpc_server_started", "Calls started.", _CALL, registry=registry)
        self.handled = Counter(
            "grpc_server_handled", "Calls completed, by status code.", (*_CALL, "grpc_code"), registry=registry
        )
        self.handling_seconds = Histogram(
            "grpc_server_handling_seconds", "Seconds from start to end of a call.", _CALL, buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.messages_received = Counter(
            "grpc_server_msg_received", "Messages received from clients.", _CALL, registry=registry
        )
        self.messages_sent = Counter("grpc_server_msg_sent", "Messages sent to clients.", _CALL, registry=registry)

    def _declare_pruning(self) -> None:
        registry = self.registry
        self.stage_seconds = Histogram(
            "pruning_stage_seconds", "Seconds of wall time of a call's stage; stages overlap.", ("stage",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.received_bytes = Counter("pruning_received_bytes", "Bytes of model received.", registry=registry)
        self.sent_bytes = Counter("pruning_sent_bytes", "Bytes of result sent.", registry=registry)
        self.parameters = Counter(
            "pruning_parameters",
            "Entries of selected tensors in finished calls, by what became of them: pruned or kept.",
            ("outcome",),
            registry=registry,
        )
        self.sparsity = Histogram(
            "pruning_sparsity_ratio",
            "Pruned part of all selected entries of a finished call, by its last rule's scope and granularity.",
            ("scope", "granularity"),
            buckets=_SPARSITIES,
            registry=registry,
        )
        self.refusals = Counter(
            "pruning_refusals", "Calls ended without a result, by reason.", ("reason",), registry=registry
        )
        self.in_flight = Gauge("pruning_requests_in_flight", "Prune calls under way.", registry=registry)
        self.reserved_bytes = Gauge("pruning_reserved_bytes", "Bytes reserved for models in calls.", registry=registry)
        self.budget_bytes = Gauge("pruning_budget_bytes", "Bytes that calls may reserve together.", registry=registry)
        self.device_memory_bytes = Gauge(
            "pruning_device_memory_bytes", "Bytes of device memory that torch holds; 0 on the CPU.", registry=registry
        )
