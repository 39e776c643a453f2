"""The server's assembly: ports, what wraps a call in order, health, reflection, and the way down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import grpc
import torch
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from pruning_engine.runtime.threads import set_threads
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import Callers
from pruning_service.calls.prune_call import Resources
from pruning_service.listen import bind, options
from pruning_service.observability.health import health_served
from pruning_service.observability.metrics import Metrics
from pruning_service.observability.metrics_server import metrics_served
from pruning_service.observability.rpc_metrics import MetricsInterceptor
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.engine_worker import Worker, find_device
from pruning_service.resources.garbage_collection import collected_between
from pruning_service.resources.memory_budget import Budget
from pruning_service.resources.trim_when_idle import trim_when_idle
from pruning_service.rpc.gate import Gate
from pruning_service.rpc.servicer import SERVICE, PruningServicer
from pruning_service.settings import Settings
from pruning_service.status import Refusal

DISTRIBUTION: Final = "pruning-service"

FAILURE_GRACE_SECONDS: Final = 3.0
"""How long a call that is ended at a shutdown may take to tell its client; see stream.DISCARD_SECONDS."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves. The addresses have the ports that were found for port 0."""

    address: str
    metrics_address: str
    health_address: str
    device_lost: asyncio.Event
    """Set once the device has failed for good: leave then, at once, and end the process."""


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Serve while inside. On the way out new calls are refused, and running ones have `drain_seconds` to finish.

    Raises: SettingsError, DeviceError if it cannot.
    """
    callers = Callers(settings.token_file)
    resources = _resources(settings)
    metrics, lost = resources.metrics, resources.faults.lost
    servicer = PruningServicer(resources)
    # A call's way, from outside in: it is counted, the gate lets it in, the servicer tells refusals, stream prunes.
    way_in = (
        MetricsInterceptor(metrics, pb.DESCRIPTOR.services_by_name.values()),
        Gate(callers, settings.max_calls, metrics),
    )
    server = grpc.aio.server(interceptors=way_in, options=options(settings))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, servicer.handlers()),))
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    serving_metrics = metrics_served(settings.metrics_listen, metrics.registry)
    with contextlib.closing(resources.worker), serving_metrics as metrics_address:
        async with health_served(server, SERVICE, settings.health_listen) as health_told:
            address = bind(server, settings)
            await server.start()
            await health_told.turn_on()
            try:
                collecting = collected_between(lambda: sum(call.tensors for call in resources.calls))
                async with collecting, trim_when_idle(resources.calls):
                    yield Running(address, metrics_address, health_told.address, lost)
            finally:
                await health_told.turn_off()
                await _drain(server, resources, 0.0 if lost.is_set() else settings.drain_seconds)


async def _drain(server: grpc.aio.Server, resources: Resources, drain_seconds: float) -> None:
    """Refuse new calls, let running ones finish, and tell those that do not in time why they end."""
    stopping = asyncio.create_task(server.stop(drain_seconds + FAILURE_GRACE_SECONDS))
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
    faults = DeviceFaults(worker.device)
    metrics = Metrics(version(DISTRIBUTION), str(worker.device))
    metrics.budget_bytes.set(settings.memory_bytes)
    metrics.reserved_bytes.set_function(lambda: budget.reserved_bytes)
    metrics.waiting.set_function(lambda: budget.waiting)
    metrics.device_lost.set_function(faults.lost.is_set)
    if worker.device.type == "cuda":
        metrics.device_memory_bytes.set_function(lambda: torch.cuda.memory_reserved(worker.device))
        metrics.device_capacity_bytes.set(torch.cuda.get_device_properties(worker.device).total_memory)
    return Resources(
        settings=settings,
        budget=budget,
        worker=worker,
        faults=faults,
        metrics=metrics,
        version=version(DISTRIBUTION),
    )
