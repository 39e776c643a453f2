"""The server's assembly: ports, what wraps a call in order, health, reflection, and shutdown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import starmap
from typing import Final

import grpc
from google.longrunning import operations_proto_pb2 as lro

from pruning_engine.kernels.compiled.library import get_kernels
from pruning_engine.kernels.compiled.scratch import free_scratch_arrays
from pruning_engine.runtime.threads import set_threads
from pruning_proto.names import OPERATIONS, SERVICE
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.auth.callers import Callers
from pruning_service.auth.tls import server_tls
from pruning_service.calls.capabilities import capabilities
from pruning_service.calls.prune_call import CallResources
from pruning_service.deadlines import FAILURE_GRACE_SECONDS
from pruning_service.job_service import JobService, job_service
from pruning_service.listen import bind, options
from pruning_service.observability import serving_status
from pruning_service.observability.health import health_served
from pruning_service.observability.metrics import Metrics
from pruning_service.observability.metrics_server import metrics_served
from pruning_service.observability.rpc_metrics import MetricsInterceptor
from pruning_service.observability.traces import Traces, traced
from pruning_service.resources.device_faults import DeviceFaults
from pruning_service.resources.devices import capacity_bytes, find_device, held_bytes, is_gpu, usable_bytes, use_kernels
from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.garbage_collection import collect_between_calls
from pruning_service.resources.memory_budget import OF_DEVICE, Budget
from pruning_service.resources.process_memory import trim_when_idle
from pruning_service.resources.spool import SpoolDirectory
from pruning_service.resources.threads import end_idle_planning_threads
from pruning_service.rpc.authentication import AuthInterceptor
from pruning_service.rpc.concurrency_limit import ConcurrencyLimiter
from pruning_service.rpc.first_message import FirstMessageLimits
from pruning_service.rpc.jobs_servicer import JobsServicer
from pruning_service.rpc.reflection import enable_reflection
from pruning_service.rpc.rejections import Rejector
from pruning_service.rpc.servicer import PruningServicer, StreamLimits
from pruning_service.rpc.small_messages import SmallMessages
from pruning_service.rpc.whole_operations import WholeOperations
from pruning_service.settings import Settings
from pruning_service.status import Refusal
from pruning_service.streams.tensor_reader import HeaderLimits

DISTRIBUTION: Final = "pruning-service"


_OPERATIONS: Final = lro.DESCRIPTOR.services_by_name.values()
"""google.longrunning.Operations, of which every method is served."""

_DEVICE_HINT: Final = "; or a server that computes on its CPU (PRUNING_DEVICE=cpu) takes it"

_SPOOL_HINT: Final = (
    "; most global ones do, too, and so do formats PACKED and REMOVED, if the server has a folder for spool files "
    "(PRUNING_SPOOL_DIR)"
)


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
    tls = server_tls(settings)
    resources = _resources(settings)
    faults = resources.faults
    metrics = _metrics(resources)
    jobs = job_service(settings, metrics.jobs)
    jobs_servicer = _jobs_servicer(jobs, metrics)
    servicer = _servicer(settings, resources, metrics, jobs)
    metrics.in_flight.set_function(lambda: len(servicer.running))
    metrics.secrets_stale.labels("tokens").set_function(callers.is_stale)
    if tls is not None:
        metrics.secrets_stale.labels("tls").set_function(tls.is_stale)
        metrics.certificate_expiry.set_function(tls.expires_at)
    serving_metrics = metrics_served(settings.metrics_listen, metrics.registry)
    with (
        contextlib.closing(resources.worker),
        contextlib.closing(jobs_servicer),
        traced(settings.traces, resources.version) as traces,
        serving_metrics as metrics_address,
    ):
        server = _server(settings, servicer, jobs_servicer, _Around(callers, metrics, traces))
        async with health_served(server, SERVICE, settings.health_listen) as health_port:
            address = bind(server, settings, tls)
            await server.start()
            health_port.turn_on()
            if jobs is not None:
                jobs.start()
            try:
                calls = servicer.running
                collecting = collect_between_calls(lambda: sum(served.call.tensors for served in calls))
                async with collecting, trim_when_idle(calls, before=partial(_release_idle, resources.worker)):
                    yield Running(address, metrics_address, health_port.address, faults.lost)
            finally:
                health_port.turn_off()
                jobs_servicer.drain()
                drain_seconds = 0.0 if faults.lost.is_set() else settings.drain_seconds
                stopping = [] if jobs is None else [jobs.stop()]  # at once, so that others take over
                await asyncio.gather(_drain(server, servicer, faults, drain_seconds), *stopping)


@dataclass(frozen=True, slots=True)
class _Around:
    """What is around the servicers: who may call, and what is recorded."""

    callers: Callers
    metrics: Metrics
    traces: Traces | None


def _release_idle(worker: EngineWorker) -> None:
    """Release what a server without calls need not keep: idle threads, and scratch memory of kernels."""
    end_idle_planning_threads()
    worker.end_idle_threads()
    free_scratch_arrays()


def _jobs_servicer(jobs: JobService | None, metrics: Metrics) -> JobsServicer:
    if jobs is None:
        return JobsServicer(None, lambda: None, metrics)
    metrics.jobs.running.set_function(lambda: jobs.supervisor.running)
    return JobsServicer(jobs.catalog, jobs.supervisor.kick, metrics)


def _server(
    settings: Settings, servicer: PruningServicer, jobs_servicer: JobsServicer, around: _Around
) -> grpc.aio.Server:
    """Return the main server. Its interceptors from outside in: a call's reads and writes go on to their end, it sends
    its message in time, is counted, has small messages, is authenticated, and has a place."""
    metrics, rejector = around.metrics, Rejector(around.metrics)
    interceptors = (
        WholeOperations(),
        FirstMessageLimits(serving_status.SERVICE_NAME),
        MetricsInterceptor(metrics, [*pb.DESCRIPTOR.services_by_name.values(), *_OPERATIONS], around.traces),
        SmallMessages(),
        AuthInterceptor(around.callers, rejector),
        ConcurrencyLimiter(settings.max_calls, servicer.running, rejector),
    )
    server = grpc.aio.server(interceptors=interceptors, options=options(settings))
    handlers = {
        SERVICE: servicer.handlers() | jobs_servicer.handlers(),
        OPERATIONS: jobs_servicer.operations_handlers(),
    }
    server.add_generic_rpc_handlers(tuple(starmap(grpc.method_handlers_generic_handler, handlers.items())))
    enable_reflection(server, (SERVICE, OPERATIONS, serving_status.SERVICE_NAME))
    return server


def _servicer(
    settings: Settings, resources: CallResources, metrics: Metrics, jobs: JobService | None
) -> PruningServicer:
    stream_limits = StreamLimits(
        idle_seconds=settings.idle_seconds,
        min_bytes_per_second=settings.min_bytes_per_second,
        backlog_bytes=settings.backlog_bytes,
    )
    described = None if jobs is None else jobs.capabilities()
    on_device = resources.device_budget
    offered = partial(
        capabilities,
        resources.version,
        resources.worker.device,
        settings.local,
        described,
        device_memory_bytes=0 if on_device is None else on_device.total_bytes,
    )
    return PruningServicer(resources, stream_limits, metrics, offered)


async def _drain(
    server: grpc.aio.Server, servicer: PruningServicer, faults: DeviceFaults, drain_seconds: float
) -> None:
    """Refuse new calls, let running ones finish, and end those that do not in time, with the reason."""
    stopping = asyncio.create_task(server.stop(drain_seconds + FAILURE_GRACE_SECONDS))
    await asyncio.wait({stopping}, timeout=drain_seconds)
    refusal = faults.device_lost() if faults.lost.is_set() else _not_in_time(drain_seconds)
    for served in list(servicer.running):
        served.call.cancel(refusal)
    await stopping


def _not_in_time(drain_seconds: float) -> Refusal:
    return Refusal(
        reason=Reason.SHUTTING_DOWN,
        message=f"the server shuts down and the call did not finish in {drain_seconds:g} s; send it again",
        retry_seconds=1.0,
    )


def _resources(settings: Settings) -> CallResources:
    set_threads(settings.threads)
    use_kernels(settings.kernels)
    device = find_device(settings.device)
    return CallResources(
        device_budget=_device_budget(settings, device) if is_gpu(device) else None,
        budget=Budget(settings.memory_bytes, settings.queue_seconds, "" if settings.spool_dir else _SPOOL_HINT),
        worker=EngineWorker(device),
        faults=DeviceFaults(device),
        limits=HeaderLimits(header_bytes=settings.header_bytes, max_tensors=settings.max_tensors),
        version=version(DISTRIBUTION),
        spool=_spool(settings),
    )


def _device_budget(settings: Settings, gpu: str) -> Budget:
    total_bytes = settings.device_memory_bytes or usable_bytes(gpu)
    return Budget(total_bytes, settings.queue_seconds, _DEVICE_HINT, OF_DEVICE)


def _spool(settings: Settings) -> SpoolDirectory | None:
    if settings.spool_dir is None:
        return None
    directory = SpoolDirectory(settings.spool_dir, settings.spool_bytes)
    directory.check()
    return directory


def _metrics(resources: CallResources) -> Metrics:
    budget, on_device, device = resources.budget, resources.device_budget, resources.worker.device
    budgets = [budget] if on_device is None else [budget, on_device]
    metrics = Metrics(resources.version, device, get_kernels())
    metrics.budget_bytes.set(budget.total_bytes)
    metrics.reserved_bytes.set_function(lambda: budget.reserved_bytes)
    metrics.waiting.set_function(lambda: sum(each.waiting for each in budgets))
    if (spool := resources.spool) is not None:
        metrics.spooled_bytes.set_function(lambda: spool.used_bytes)
    metrics.device_lost.set_function(resources.faults.lost.is_set)
    if on_device is not None:
        metrics.device_budget_bytes.set(on_device.total_bytes)
        metrics.device_reserved_bytes.set_function(lambda: on_device.reserved_bytes)
    if resources.worker.is_gpu:
        metrics.device_memory_bytes.set_function(lambda: held_bytes(device))
        metrics.device_capacity_bytes.set(capacity_bytes(device))
    return metrics
