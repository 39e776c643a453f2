"""The jobs of a server, from its settings: where they are, and how they are carried out."""

import os
from dataclasses import dataclass
from typing import Final

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.catalog import JobCatalog
from pruning_service.jobs.supervisor import JobEvents, JobLimits, Supervisor
from pruning_service.local_settings import PREFIX
from pruning_service.settings import Settings, variable_of
from pruning_service.stores.allowed import AllowedStores
from pruning_service.stores.stores import Stores, StoreSettings

_PASSED_ON: Final = (
    *("device", "kernels", "threads", "header_bytes", "max_tensors", "executor", "ray_address"),
    *("stores", "store_endpoint", "lease_seconds", "log_level", "log_format", "spool_dir", "spool_bytes"),
)
"""Settings that a worker has as its server does."""


@dataclass(frozen=True, slots=True)
class JobService:
    """The jobs of a server that has stores."""

    catalog: JobCatalog
    supervisor: Supervisor
    settings: Settings

    def capabilities(self) -> pb.JobCapabilities:
        """Return what is offered of jobs."""
        return pb.JobCapabilities(
            schemes=self.catalog.schemes, jobs=self.settings.max_jobs, memory_bytes=self.settings.job_memory_bytes
        )

    def start(self) -> None:
        """Begin to carry out jobs."""
        self.supervisor.start()

    async def stop(self) -> None:
        """Release all leases, and end the threads."""
        await self.supervisor.stop()
        self.catalog.stores.close()


def job_service(settings: Settings, events: JobEvents) -> JobService | None:
    """Return the jobs of a server; None if it has no stores. Raises: SettingsError."""
    if settings.stores is None:
        return None
    allowed = AllowedStores.parse(settings.stores)
    allowed.check_folders()
    stores = Stores(StoreSettings(endpoint=settings.store_endpoint or "", allowed=allowed))
    catalog = JobCatalog(stores, allowed)
    return JobService(catalog, Supervisor(catalog, _limits(settings), events), settings)


def _limits(settings: Settings) -> JobLimits:
    return JobLimits(
        jobs=settings.max_jobs,
        attempts=settings.job_attempts,
        lease_seconds=settings.lease_seconds,
        environment=_environment(settings),
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Return the environment of workers: the server's own, with its credentials, and the settings that they need."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {variable_of(name): value for name in _PASSED_ON if (value := getattr(settings, name)) is not None}
    memory = {variable_of("memory_bytes"): settings.job_memory_bytes}
    return inherited | {name: str(value) for name, value in (given | memory).items()}
