"""The server's assembly: ports, what wraps a call in order, health, reflection, and the way down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import grpc
import torch
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from pruning_engine.threads import set_threads
from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_service.admission import Budget
from pruning_service.config import NOWHERE, PREFIX, UNIX, Settings, SettingsError, host_and_port
from pruning_service.device_faults import DeviceFaults
from pruning_service.garbage import collected_between
from pruning_service.interceptor import MetricsInterceptor
from pruning_service.metrics import Metrics
from pruning_service.rest import given_back_at_rest
from pruning_service.servicer import SERVICE, PruningServicer
from pruning_service.status import Refusal
from pruning_service.stream import Resources
from pruning_service.worker import Worker, find_device

DISTRIBUTION: Final = "pruning-service"

TELLING_SECONDS: Final = 3.0
"""How long a call that is ended at a shutdown may take to tell its client; see stream.DISCARD_SECONDS."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # two servers on one port would share its calls
    # A client may ping every 10 s, also between calls. The server pings a connection that was silent for 30 s, and
    # gives it up if nothing comes back within 20: a client that vanished without a word is noticed in 50 to 80 s.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # the longer of the two counts, and gRPC's is a minute
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves. The addresses have the ports that were found for port 0."""

    address: str
    metrics_address: str
    device_lost: asyncio.Event
    """Set once the device has failed for good: leave then, at once, and end the process."""


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Serve while inside. On the way out new calls are refused, and running ones have `drain_seconds` to finish.

    Raises: SettingsError, DeviceError if it cannot.
    """
    resources = _resources(settings)
    lost = resources.faults.lost
    servicer = PruningServicer(resources)
    # A call's way, from outside in: the interceptor counts it, the servicer tells refusals, stream prunes.
    server = grpc.aio.server(interceptors=(MetricsInterceptor(resources.metrics),), options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, servicer.handlers()),))
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    with contextlib.closing(resources.worker), _metrics_endpoint(settings, resources.metrics) as metrics_address:
        address = _bind(server, settings.listen)
        await server.start()
        await status.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        try:
            collecting = collected_between(lambda: sum(call.tensors for call in resources.calls))
            async with collecting, given_back_at_rest(resources.calls):
                yield Running(address, metrics_address, lost)
        finally:
            await status.enter_graceful_shutdown()
            await _drain(server, resources, 0.0 if lost.is_set() else settings.drain_seconds)


async def _drain(server: grpc.aio.Server, resources: Resources, drain_seconds: float) -> None:
    """Refuse new calls, let running ones finish, and tell those that do not in time why they end."""
    stopping = asyncio.create_task(server.stop(drain_seconds + TELLING_SECONDS))
    await asyncio.wait({stopping}, timeout=drain_seconds)
    refusal = resources.faults.gone() if resources.faults.lost.is_set() else _not_in_time(drain_seconds)
    for call in list(resources.calls):
        call.end(refusal)
    await stopping


def _not_in_time(drain_seconds: float) -> Refusal:
    return Refusal(
        reason=Reason.SHUTTING_DOWN,
        message=f"the server shuts down and the call did not finish in {drain_seconds:g} s; send it again",
        retry_seconds=1.0,
    )


def _resources(settings: Settings) -> Resources:
    set_threads(settings.threads)
    worker = Worker(find_device(settings.device))
    budget = Budget(settings.memory_bytes, settings.queue_seconds)
    metrics = Metrics(version(DISTRIBUTION), str(worker.device))
    metrics.budget_bytes.set(settings.memory_bytes)
    metrics.reserved_bytes.set_function(lambda: budget.reserved_bytes)
    if worker.device.type == "cuda":
        metrics.device_memory_bytes.set_function(lambda: torch.cuda.memory_reserved(worker.device))
    return Resources(
        settings=settings,
        budget=budget,
        worker=worker,
        faults=DeviceFaults(worker.device),
        metrics=metrics,
        version=version(DISTRIBUTION),
    )


@contextlib.contextmanager
def _metrics_endpoint(settings: Settings, metrics: Metrics) -> Iterator[str]:
    """Serve the metrics from a thread of their own while inside; give the address."""
    if settings.metrics_listen == NOWHERE:
        yield NOWHERE
        return
    host, port = host_and_port(settings.metrics_listen, f"{PREFIX}METRICS_LISTEN")
    try:
        endpoint, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise SettingsError(f"cannot serve metrics on {settings.metrics_listen}: {error}") from error
    try:
        yield f"{host}:{endpoint.server_port}"
    finally:
        endpoint.shutdown()
        endpoint.server_close()
        thread.join()


def _bind(server: grpc.aio.Server, listen: str) -> str:
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {listen}: is the address in use, or not of this machine?") from error
    return listen if listen.startswith(UNIX) else f"{listen.rpartition(':')[0]}:{port}"
