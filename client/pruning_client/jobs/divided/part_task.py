"""One part of one phase of a divided job, in any process that reaches the stores."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from pruning_client.calls.background_writer import BackgroundWriter
from pruning_client.jobs.divided.extents import ExtentStore
from pruning_client.jobs.divided.job_division import JobDivision, division_from
from pruning_service.local import BACKLOG_BYTES, settings_from
from pruning_service.local_settings import LocalSettings
from pruning_service.parts import Division, PartRunner, PhaseKind, phase_from
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri

DIVISION = "division"
"""The record of what all parts have in common."""


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the tasks of this process have in common with what submits them."""

    stores: Stores
    check: Callable[[], object]


_shared: list[_Shared] = []


@contextmanager
def sharing(stores: Stores, check: Callable[[], object]) -> Iterator[None]:
    """Have the tasks that run in this process, inside, use stores that are open already.

    `check` is called before a file gets visible, and raises if this process may not go on.
    """
    _shared.append(_Shared(stores, check))
    try:
        yield
    finally:
        _shared.pop()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """A `Task` of an executor.

    `label`: the job, for messages. `records`: the place of the job's records. `digest`: of the record of its division.
    `threads` to compute with; None: those of the process's settings.
    """

    label: str
    stores: StoreSettings
    records: str
    digest: str
    phase: bytes
    phase_name: str
    part: int
    memory_bytes: int
    threads: int | None = None

    @property
    def name(self) -> str:
        """What it does, for messages."""
        return f"{self.label} {self.phase_name} part {self.part}"

    def run(self) -> bytes:
        """Carry it out; return its record. Raises: StoreError, Refusal, PruningError, RecordError."""
        with ExitStack() as stack:
            shared = _shared[-1] if _shared else _Shared(stack.enter_context(Stores(self.stores)), lambda: None)
            job = _loaded(self.digest) or _load(shared.stores, self)
            return _run(job, self, shared)


@dataclass(frozen=True, slots=True)
class _Job:
    """A divided job and its plan, which takes a while to make."""

    described: JobDivision
    division: Division


_jobs: dict[str, _Job] = {}


def _loaded(digest: str) -> "_Job | None":
    return _jobs.get(digest)


def _load(stores: Stores, task: PartTask) -> _Job:
    described = division_from(stores.open(StoreUri.parse(task.records)).get(DIVISION)[0])
    return remember(task.digest, described, described.division(_settings(None)))


def remember(digest: str, described: JobDivision, division: Division) -> _Job:
    """Keep a job for the next tasks of this process, and none other."""
    _jobs.clear()
    _jobs[digest] = job = _Job(described, division)
    return job


@lru_cache(maxsize=4)
def _settings(threads: int | None) -> LocalSettings:
    settings = settings_from(os.environ)
    return settings if threads is None else replace(settings, threads=threads)


def _run(job: _Job, task: PartTask, shared: _Shared) -> bytes:
    stores = shared.stores
    phase = phase_from(task.phase, job.division.name)
    runner = PartRunner(job.division, _settings(task.threads))
    source = ExtentStore(job.described.extents, stores.open)
    if phase.kind is not PhaseKind.WRITE:
        return runner.run(phase, task.part, source)
    target, file = stores.open(StoreUri.parse(job.described.target)), job.described.files[task.part]
    with target.writer(file.key, file.size) as writer:
        with BackgroundWriter(writer.write, BACKLOG_BYTES) as behind:
            behind.write(memoryview(file.header))
            record = runner.run(phase, task.part, source, _Sink(behind))
        shared.check()
        writer.complete()
    return record


class _Sink:
    """Writes the results of a part, which come in the order of its file."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer

    def write(self, name: str, data: memoryview) -> None:  # noqa: ARG002
        """Take the bytes of a result."""
        if len(data):
            self._writer.write(data)
