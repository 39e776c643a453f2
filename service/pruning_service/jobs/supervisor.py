"""The jobs that one server carries out: it looks for those that nobody has, and attends to a process for each.

Many servers do so for the same places. Which of them has a job, the lease in the store decides, and nothing else.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.catalog import JobCatalog
from pruning_service.jobs.exit_statuses import ExitStatus
from pruning_service.jobs.leases import (
    Claim,
    Lease,
    LeaseLostError,
    draw_owner,
    give_back,
    keep_renewing,
    now_seconds,
    take,
    take_to_settle,
)
from pruning_service.jobs.scan import OpenJob, Scanner, key_of
from pruning_service.jobs.settling import cancelled, exhausted, settle_failure, timed_out
from pruning_service.jobs.state import HeldVersion, JobState
from pruning_service.jobs.worker_process import WorkerProcess
from pruning_service.status import Refusal
from pruning_service.stores.errors import StoreError

LONGEST_SCAN_SECONDS: Final = 5.0
"""How long it takes at most until a job is noticed that another server was asked to begin or to cancel."""

SCANS: Final = 3
"""How often places are looked at while a lease is valid."""

STOP_SECONDS: Final = 10.0
"""How long a worker may take to give its lease back."""

LONGEST_WAIT_SECONDS: Final = 60.0
"""Between two attempts of a job whose process crashes, at most."""

_FIRST_WAIT_SECONDS: Final = 0.5

_Value = TypeVar("_Value")

_log = logging.getLogger(__name__)


class JobEvents(Protocol):
    """What is counted of jobs."""

    def scanned(self, waiting: int, running: int) -> None:
        """Note how many jobs wait, and how many some server carries out."""

    def scan_failed(self) -> None:
        """Note that a store could not be looked at."""

    def begun(self, *, is_takeover: bool) -> None:
        """Note the begin of an attempt."""

    def crashed(self) -> None:
        """Note a worker that ended without saying why."""

    def said(self, fields: Mapping[str, Any]) -> None:
        """Note what a worker did since it said so last."""

    def ended(self, outcome: str) -> None:
        """Note the end of a job that this server carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """How jobs are carried out. `environment` is the workers'."""

    jobs: int
    attempts: int
    lease_seconds: float
    environment: Mapping[str, str]

    @property
    def scan_seconds(self) -> float:
        """How often places are looked at."""
        return min(self.lease_seconds / SCANS, LONGEST_SCAN_SECONDS)


@dataclass(slots=True)
class _Attended:
    """A job that this server has."""

    job: JobState
    owner: str
    is_cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its worker does not renew the lease, or lost it: it hangs, or was stopped for a while."""

    worker: WorkerProcess | None = None
    task: "asyncio.Task[None] | None" = None

    def look_at(self, found: OpenJob) -> None:
        """Note what the store says of the job."""
        if found.is_cancelled:
            self.is_cancelled.set()
        if found.is_free or (found.lease is not None and found.lease.record.owner != self.owner):
            self.is_silent.set()


class Supervisor:
    """Carries out jobs from `start` to `stop`."""

    def __init__(self, catalog: JobCatalog, limits: JobLimits, events: JobEvents) -> None:
        self._catalog = catalog
        self._limits = limits
        self._events = events
        self._scanner = Scanner()
        self._attended: dict[tuple[str, str], _Attended] = {}
        self._settling: dict[tuple[str, str], asyncio.Task[str]] = {}
        self._kicked = asyncio.Event()
        self._is_stopping = False
        self._threads = ThreadPoolExecutor(4, "prune-jobs")
        self._scanning: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Jobs that this server carries out."""
        return len(self._attended)

    def start(self) -> None:
        """Begin to look for jobs."""
        self._scanning = asyncio.create_task(self._scan_for_ever())

    def kick(self) -> None:
        """Look at once: a job was created or is to be cancelled."""
        self._kicked.set()

    async def stop(self) -> None:
        """Release all leases, so that other servers take over at once."""
        self._is_stopping = True
        self.kick()
        if self._scanning is not None:
            await self._scanning
        for each in self._attended.values():
            if each.worker is not None:
                each.worker.ask_to_stop()
        tasks: list[asyncio.Task[Any]] = [each.task for each in self._attended.values() if each.task is not None]
        tasks += self._settling.values()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for each in list(self._attended.values()):
            if each.worker is not None:
                await each.worker.kill()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _scan_for_ever(self) -> None:
        while not self._is_stopping:
            self._kicked.clear()
            try:
                await self._scan()
            except StoreError as error:
                self._events.scan_failed()
                _log.warning("jobs not looked at error=%s", error)
            except Exception:  # noqa: BLE001 - a fault of ours must not end all jobs
                self._events.scan_failed()
                _log.exception("jobs not looked at")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.scan_seconds):
                    await self._kicked.wait()

    async def _scan(self) -> None:
        found = await self._in_thread(lambda: self._scanner.look(self._catalog.places()))
        running = sum(each.is_running or each.key in self._attended for each in found)
        self._events.scanned(len(found) - running, running)
        for each in found:
            if self._is_stopping:
                return
            attended = self._attended.get(each.key)
            if attended is not None:
                attended.look_at(each)
            elif each.is_free and each.key not in self._settling:
                await self._begin(each)

    async def _begin(self, found: OpenJob) -> None:
        """Take a free job, to carry it out if there is a place for it, or to end it."""
        end = self._reason_to_end(found)
        if found.is_cancelled:
            end = await self._in_thread(lambda: _cancellation(found.job))
        if end is not None:
            self._begin_to_settle(found, end)
            return
        if len(self._attended) >= self._limits.jobs:
            return
        claim = self._claim()
        held = await self._in_thread(lambda: take(found.job, found.lease, claim))
        if held is None or await self._in_thread(found.job.result) is not None:
            return
        is_takeover = held.record.metadata.attempt > 1
        self._events.begun(is_takeover=is_takeover)
        attended = self._attended[found.key] = _Attended(found.job, claim.owner)
        attended.task = asyncio.create_task(self._attend(attended, held))

    def _reason_to_end(self, found: OpenJob) -> Refusal | None:
        """Return why a job is not to be begun once more; None: it is."""
        if found.lease is None:
            return None
        record = found.lease.record
        timeout = _timeout_of(found.job)
        if timeout is not None and record.used_seconds >= timeout:
            return timed_out(timeout)
        if record.lone_attempts >= self._limits.attempts:
            return exhausted(record.lone_attempts, record.metadata.last_error)
        return None

    async def _attend(self, attended: _Attended, held: HeldVersion) -> None:
        """Carry out a job that this server has."""
        job, begin = attended.job, time.monotonic()
        outcome = "INTERNAL"
        _log.info(
            "job begins name=%s attempt=%d caller=%s source=%s target=%s",
            *(job.operation_name, held.record.metadata.attempt, job.record.caller),
            *(job.record.request.source, job.record.request.target),
        )
        try:
            outcome = await self._attend_process(attended, held)
        except StoreError as error:
            outcome = "STORE_UNAVAILABLE"  # the lease ends by itself, and somebody takes over
            _log.warning("job left name=%s error=%s", job.operation_name, error)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("job left name=%s", job.operation_name)
        finally:
            del self._attended[key_of(job)]
            _log.info(
                "job ends name=%s attempt=%d outcome=%s seconds=%.3f",
                *(job.operation_name, held.record.metadata.attempt, outcome, time.monotonic() - begin),
            )
            self.kick()

    async def _attend_process(self, attended: _Attended, held: HeldVersion) -> str:
        job = attended.job
        worker = attended.worker = await WorkerProcess.start(
            job, attended.owner, self._limits.environment, self._events.said
        )
        if self._is_stopping:
            worker.ask_to_stop()
        end = await self._wait(attended, worker, held)
        if end is not None:
            await worker.kill()
            return await self._settle_own(attended, end)
        if attended.is_silent.is_set():
            await worker.kill()
            await self._after_crash(attended, "the worker did not renew its lease in time")
            return "SILENT"
        status = await worker.ended()
        match status:
            case ExitStatus.DONE:
                done = await self._in_thread(job.result)
                outcome = "UNKNOWN" if done is None else _outcome(done)
                self._events.ended(outcome)
                return outcome
            case ExitStatus.RELEASED | ExitStatus.LOST | ExitStatus.RETRY:
                return ExitStatus(status).name
        await self._after_crash(attended, _death(status))
        return "CRASHED"

    async def _wait(self, attended: _Attended, worker: WorkerProcess, held: HeldVersion) -> Refusal | None:
        """Wait for the end of a worker; return why it is to be ended before, or None."""
        timeout = _timeout_of(attended.job)
        left = None if timeout is None else max(0.0, timeout - held.record.used_seconds)
        ended = asyncio.create_task(worker.ended())
        cancelling = asyncio.create_task(attended.is_cancelled.wait())
        silent = asyncio.create_task(attended.is_silent.wait())
        try:
            await asyncio.wait({ended, cancelling, silent}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return None
            if cancelling.done():
                return await self._in_thread(lambda: _cancellation(attended.job))
            return None if silent.done() else timed_out(timeout or 0.0)
        finally:
            cancelling.cancel()
            silent.cancel()

    async def _after_crash(self, attended: _Attended, error: str) -> None:
        """Free the lease of a worker that is gone, for it or another server to try again, a little later."""
        self._events.crashed()
        _log.warning("job worker crashed name=%s error=%s", attended.job.operation_name, error)

        def free() -> float | None:
            lease = attended.job.lease()
            if lease is None or lease.record.owner != attended.owner:
                return None
            wait = _wait_seconds(lease.record.lone_attempts)
            give_back(attended.job, lease, wait_seconds=wait, error=error, counts=not self._is_stopping)
            return wait

        wait = await self._in_thread(free)
        if wait is not None:
            asyncio.get_running_loop().call_later(wait, self.kick)

    async def _settle_own(self, attended: _Attended, refusal: Refusal) -> str:
        """End a job whose worker was killed here."""
        lease = await self._in_thread(attended.job.lease)
        if lease is not None and lease.record.owner == attended.owner:
            return await self._settle(attended.job, lease, refusal)
        return ExitStatus.LOST.name

    def _begin_to_settle(self, found: OpenJob, refusal: Refusal) -> None:
        """End a job beside the scans: what it wrote may take long to remove."""

        def settled(task: "asyncio.Task[str]") -> None:
            del self._settling[found.key]
            if not task.cancelled() and (error := task.exception()) is not None:  # it is found again at the next scan
                _log.warning("job not ended name=%s error=%s", found.job.operation_name, error)

        task = asyncio.create_task(self._settle(found.job, found.lease, refusal))
        self._settling[found.key] = task
        task.add_done_callback(settled)

    async def _settle(self, job: JobState, seen: HeldVersion | None, refusal: Refusal) -> str:
        """End a job that nobody carries out, without a result; return its outcome."""
        claim = self._claim()
        outcome = await self._in_thread(lambda: _settled(job, seen, claim, refusal, self._catalog))
        if outcome is not None:
            self._events.ended(outcome)
            _log.info("job ended name=%s outcome=%s", job.operation_name, outcome)
        return outcome or ExitStatus.LOST.name

    def _claim(self) -> Claim:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return Claim(owner=draw_owner(), worker=worker, valid_seconds=self._limits.lease_seconds)

    async def _in_thread(self, work: Callable[[], _Value]) -> _Value:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _settled(
    job: JobState, seen: HeldVersion | None, claim: Claim, refusal: Refusal, catalog: JobCatalog
) -> str | None:
    """End a job, holding its lease; return its outcome, or None if another process was first. Raises: StoreError."""
    begin = now_seconds()
    held = take_to_settle(job, seen, claim)
    if held is None or job.result() is not None:
        return None
    lease, stopped = Lease(job, held, begin), threading.Event()
    renewing = threading.Thread(
        target=keep_renewing, args=(lease, lambda: held.record.metadata, stopped, lambda _: None), daemon=True
    )
    renewing.start()
    try:
        return _outcome(settle_failure(job, lease, catalog.stores, refusal))
    except LeaseLostError:
        return None
    finally:
        stopped.set()
        renewing.join()


def _wait_seconds(lone_attempts: int) -> float:
    """Return when a job is begun again whose process crashed; at once if it had finished a part."""
    return min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(lone_attempts, 10)) if lone_attempts else 0.0


def _cancellation(job: JobState) -> Refusal:
    record = job.cancelled()
    return cancelled("" if record is None else record.caller)


def _timeout_of(job: JobState) -> float | None:
    request = job.record.request
    return request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else None


def _death(status: int) -> str:
    if status == -9:
        return "the worker was ended by signal 9; the system does that where memory runs out"
    return f"the worker was ended by signal {-status}" if status < 0 else f"the worker ended with status {status}"


def _outcome(operation: Any) -> str:
    """Return the name of the state of an operation that is done, without its prefix."""
    metadata = pb.PruneCheckpointMetadata()
    operation.metadata.Unpack(metadata)
    return pb.JobState.Name(metadata.state).removeprefix("JOB_STATE_")
