"""Leases: of all processes that could carry out a job, one does, and it stops when it cannot be sure of that any more.

No two clocks are compared. Who holds a lease renews it, and counts from the begin of the last renewal that succeeded;
the others count from when they saw that renewal, which was later. So the holder's time is over first.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.records import NOBODY, JobRecord, LeaseRecord
from pruning_service.jobs.state import HeldVersion, JobState
from pruning_service.stores.errors import ExistsError, ReplacedError, StoreError

RENEWALS: Final = 4
"""How often a lease is renewed while it is valid: three may fail."""

STARTING_SECONDS: Final = 30.0
"""How long a process that was just started has at least until it renews its lease for the first time."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LeaseLostError(Exception):
    """Another process may carry out the job by now; the text says why."""


def now_seconds() -> float:
    """Return the time of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


def now() -> Timestamp:
    """Return the time of day, for people."""
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def draw_owner() -> str:
    """Draw the owner of a lease."""
    return secrets.token_hex(8)


def first_metadata(record: JobRecord) -> pb.PruneCheckpointMetadata:
    """Return the metadata of a job that waits."""
    request = record.request
    metadata = pb.PruneCheckpointMetadata(
        name=request.name,
        state=pb.JOB_STATE_PENDING,
        step="waiting",
        source=request.source,
        target=request.target,
        labels=request.labels,
    )
    metadata.create_time.FromJsonString(record.created)
    return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a process says of itself when it takes a lease. Units: `valid_seconds`, without a renewal."""

    owner: str
    worker: str
    valid_seconds: float


def take(job: JobState, seen: HeldVersion | None, claim: Claim) -> HeldVersion | None:
    """Take the lease to begin an attempt, or return None if another process was first.

    `seen`: the lease that is free; None if there never was one. Raises: StoreError.
    """
    before = None if seen is None else seen.record
    metadata = pb.PruneCheckpointMetadata()
    metadata.CopyFrom(first_metadata(job.record) if before is None else before.metadata)
    metadata.state = pb.JOB_STATE_RUNNING
    metadata.step = "starting"
    metadata.worker = claim.worker
    metadata.attempt += 1
    metadata.read_bytes = metadata.written_bytes = 0
    metadata.update_time.CopyFrom(now())
    if not metadata.HasField("start_time"):
        metadata.start_time.CopyFrom(metadata.update_time)
    record = LeaseRecord(
        owner=claim.owner,
        beat=0 if before is None else before.beat + 1,
        valid_seconds=max(claim.valid_seconds, STARTING_SECONDS),
        lone_attempts=1 if before is None else before.lone_attempts + 1,
        has_target=before is not None and before.has_target,
        used_seconds=0.0 if before is None else before.used_seconds,
        metadata=metadata,
    )
    return _written(job, seen, record)


def take_to_settle(job: JobState, seen: HeldVersion | None, claim: Claim) -> HeldVersion | None:
    """Take the lease to end the job, which does not count as an attempt; else as `take`."""
    if seen is None:
        first = LeaseRecord(owner=claim.owner, valid_seconds=claim.valid_seconds, metadata=first_metadata(job.record))
        return _written(job, None, first)
    return _written(job, seen, seen.record.next(owner=claim.owner, valid_seconds=claim.valid_seconds))


def give_back(
    job: JobState, held: HeldVersion, *, wait_seconds: float = 0.0, error: str = "", counts: bool = True
) -> HeldVersion | None:
    """Free the lease of an owner that has ended, for others to take after `wait_seconds`; None if it was lost.

    `error` is what ended it. `counts`: whether the attempt is one of those that finished nothing.
    Raises: StoreError.
    """
    metadata = pb.PruneCheckpointMetadata()
    metadata.CopyFrom(held.record.metadata)
    metadata.state = pb.JOB_STATE_PENDING
    metadata.step = "waiting"
    metadata.worker = ""
    metadata.last_error = error
    metadata.update_time.CopyFrom(now())
    lone = held.record.lone_attempts
    record = held.record.next(
        owner=NOBODY,
        valid_seconds=wait_seconds,
        lone_attempts=lone if counts else max(0, lone - 1),
        metadata=metadata,
    )
    return _written(job, held, record)


def _written(job: JobState, seen: HeldVersion | None, record: LeaseRecord) -> HeldVersion | None:
    try:
        return job.create_lease(record) if seen is None else job.replace_lease(record, seen.version)
    except (ExistsError, ReplacedError):
        return None


class Lease:
    """A lease that this process holds and renews, from a thread of its own, until it ends."""

    def __init__(self, job: JobState, held: HeldVersion, begun: float) -> None:
        """`begun`: when it was taken, or a moment before, by `now_seconds`."""
        self._job = job
        self._held = held
        self._renewed = self._begun = begun
        self._used_before = held.record.used_seconds
        self._lock = threading.Lock()  # of writing
        self._is_lost = False

    @property
    def record(self) -> LeaseRecord:
        """The lease as it was written last."""
        return self._held.record

    @property
    def held(self) -> HeldVersion:
        """The same, with its version."""
        return self._held

    def check(self) -> None:
        """Raise LeaseLostError unless no other process can have the job yet. To be called before each visible write."""
        if self._is_lost or now_seconds() - self._renewed >= self.record.valid_seconds:
            raise LeaseLostError(f"{self._job.operation_name}: the lease was not renewed in time")

    def begin(self, valid_seconds: float) -> None:
        """Renew it for the first time; from now on it is valid for so long. Raises: StoreError, LeaseLostError."""
        self._write(lambda record: record.next(valid_seconds=valid_seconds))

    def claim_target(self) -> None:
        """Note that what is at the target from now on is the job's own. Raises: StoreError, LeaseLostError."""
        self._write(lambda record: record.next(has_target=True))

    def part_finished(self) -> None:
        """Note that this attempt finished a part, so that it is no lone one. Raises: StoreError, LeaseLostError."""
        if self.record.lone_attempts:
            self._write(lambda record: record.next(lone_attempts=0))

    def renew(self, metadata: pb.PruneCheckpointMetadata) -> None:
        """Renew it, with what there is to say. Raises: StoreError, LeaseLostError."""
        self._write(lambda record: record.next(metadata=metadata))

    def release(self, *, error: str = "", wait_seconds: float = 0.0, counts: bool = False) -> None:
        """Release it, for another process to take the job over. Raises: StoreError."""
        with self._lock:
            self._is_lost = True
            held = HeldVersion(self._held.record.next(used_seconds=self.used_seconds), self._held.version)
            give_back(self._job, held, wait_seconds=wait_seconds, error=error, counts=counts)

    @property
    def used_seconds(self) -> float:
        """How long the job was under way, earlier attempts included."""
        return self._used_before + now_seconds() - self._begun

    def _write(self, change: Callable[[LeaseRecord], LeaseRecord]) -> None:
        with self._lock:
            self.check()
            begin = now_seconds()
            try:
                self._held = self._replaced(change(self._held.record))
            except ReplacedError as error:
                self._is_lost = True
                raise LeaseLostError(f"{self._job.operation_name}: another process has the job now") from error
            self._renewed = begin

    def _replaced(self, record: LeaseRecord) -> HeldVersion:
        """Write a record in place of the last one. Raises: StoreError; ReplacedError if that was another owner's."""
        record = record.next(used_seconds=self.used_seconds)
        try:
            return self._job.replace_lease(record, self._held.version)
        except ReplacedError:
            there = self._job.lease()
            if there is None or there.record.owner != record.owner:
                raise
        return self._job.replace_lease(record, there.version)  # the answer to an earlier renewal was lost


def keep_renewing(
    lease: Lease,
    describe: Callable[[], pb.PruneCheckpointMetadata],
    stopped: threading.Event,
    lost: Callable[[LeaseLostError], object],
) -> None:
    """Renew a lease until `stopped`; call `lost` if it is lost, and return. For a thread of its own."""
    pause = lease.record.valid_seconds / RENEWALS
    while not stopped.wait(pause):
        try:
            lease.renew(describe())
        except LeaseLostError as error:
            lost(error)
            return
        except StoreError:  # the store is away: until the lease is over it may come back
            continue
