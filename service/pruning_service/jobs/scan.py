"""One look at all jobs that are not done: what each waits for, from one listing of each place."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from pruning_service.jobs.ages import JobKey, LeaseAges
from pruning_service.jobs.records import NOBODY
from pruning_service.jobs.state import CANCELLED, LEASE, REQUEST, RESULT, HeldVersion, JobState, find_job
from pruning_service.stores.allowed import STATE
from pruning_service.stores.store import Store

Objects: TypeAlias = dict[str, dict[tuple[str, ...], str]]
"""The versions of all objects of jobs, by the job's name and the rest of their paths."""

_READERS: Final = 16
"""Records that are read at once."""


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that was not done. `lease` is as it was seen; `is_free`: whether it may be taken."""

    job: JobState
    lease: HeldVersion | None
    is_free: bool
    is_cancelled: bool

    @property
    def key(self) -> JobKey:
        """What the job is known by in this process."""
        return key_of(self.job)

    @property
    def is_running(self) -> bool:
        """Whether some process has it, as far as one can see."""
        return self.lease is not None and self.lease.record.owner != NOBODY and not self.is_free


def key_of(job: JobState) -> JobKey:
    """Return what a job is known by in this process."""
    return str(job.store.uri), job.record.uid


@dataclass(slots=True)
class Scanner:
    """Looks at places, and remembers what it saw, so that records that did not change are read once."""

    _ages: LeaseAges = field(default_factory=LeaseAges)
    _jobs: dict[tuple[str, str], JobState] = field(default_factory=dict)
    _leases: dict[JobKey, HeldVersion] = field(default_factory=dict)

    def look(self, stores: Iterator[Store]) -> list[OpenJob]:
        """Return the jobs that are not done, those created first in front. Raises: StoreError."""
        jobs = self._jobs
        self._jobs = {}
        found = [each for store in stores for each in self._in_place(store, jobs)]
        keys = {each.key for each in found}
        self._ages.keep_only(keys)
        self._leases = {key: lease for key, lease in self._leases.items() if key in keys}
        return sorted(found, key=lambda each: (each.job.record.created, each.key))

    def _in_place(self, store: Store, known: dict[tuple[str, str], JobState]) -> Iterator[OpenJob]:
        by_name = _by_name(store)
        for name, job in self._found(store, by_name, known).items():
            uid, objects = job.record.uid, by_name[name]
            if (uid, RESULT) not in objects:
                yield self._open(job, objects.get((uid, LEASE)), is_cancelled=(uid, CANCELLED) in objects)

    def _found(self, store: Store, by_name: "Objects", known: dict[tuple[str, str], JobState]) -> dict[str, JobState]:
        """Return the jobs of a place by name; what was not seen before is read, several at once."""
        versions = {name: objects[REQUEST,] for name, objects in by_name.items() if (REQUEST,) in objects}
        identities = {name: (f"{store.uri}/{name}", version) for name, version in versions.items()}
        new = [name for name, identity in identities.items() if identity not in known]
        with ThreadPoolExecutor(_READERS, "prune-scan") as readers:
            read = dict(zip(new, readers.map(partial(find_job, store), new), strict=True))
        found = {name: read[name] if name in read else known[identity] for name, identity in identities.items()}
        there = {name: job for name, job in found.items() if job is not None}
        self._jobs |= {identities[name]: job for name, job in there.items()}
        return there

    def _open(self, job: JobState, version: str | None, *, is_cancelled: bool) -> OpenJob:
        lease = None if version is None else self._lease(job, version)
        is_free = lease is None or self._ages.age(key_of(job), lease.version) >= lease.record.valid_seconds
        return OpenJob(job, lease, is_free, is_cancelled)

    def _lease(self, job: JobState, version: str) -> HeldVersion | None:
        """Return a lease, read unless it is of the version that was seen before."""
        known = self._leases.get(key_of(job))
        if known is None or known.version != version:
            read = job.lease()
            if read is None:
                return None
            known = self._leases[key_of(job)] = read
        return known


def _by_name(store: Store) -> "Objects":
    """Return the versions of all objects of jobs, by the job's name and the rest of their paths."""
    found: dict[str, dict[tuple[str, ...], str]] = defaultdict(dict)
    for each in store.list(STATE):
        _, name, *path = each.key.split("/")
        if path:
            found[name][tuple(path)] = each.version
    return found
