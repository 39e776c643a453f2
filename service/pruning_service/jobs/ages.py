"""Since when a lease has been seen unchanged, by this process's own clock: who holds it may have another time."""

from dataclasses import dataclass
from typing import TypeAlias

from pruning_service.jobs.leases import now_seconds

JobKey: TypeAlias = tuple[str, str]
"""The place and the uid of a job."""


@dataclass(frozen=True, slots=True)
class _Seen:
    version: str
    since: float


class LeaseAges:
    """Remembers the version of each lease, and when it was seen first."""

    def __init__(self) -> None:
        self._seen: dict[JobKey, _Seen] = {}

    def age(self, job: JobKey, version: str) -> float:
        """Return for how many seconds the lease of a job has had this version, as far as this process has seen."""
        seen = self._seen.get(job)
        if seen is None or seen.version != version:
            seen = self._seen[job] = _Seen(version, now_seconds())
        return now_seconds() - seen.since

    def keep_only(self, jobs: set[JobKey]) -> None:
        """Forget all other jobs: they are done."""
        for job in self._seen.keys() - jobs:
            del self._seen[job]
