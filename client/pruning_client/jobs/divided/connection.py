"""A connection whose calls are carried out in parts, where their plans can be divided, and else as by any other."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.checkpoints.split import SplitFiles
from pruning_client.clients.sync import Connection
from pruning_client.errors import DeadlineError
from pruning_client.jobs.divided.extents import Extent, extents_of
from pruning_client.jobs.divided.job_division import JobDivision, ResultFile, division_from
from pruning_client.jobs.divided.part_records import PartRecords
from pruning_client.jobs.divided.part_task import DIVISION, PartTask, remember, sharing
from pruning_client.jobs.executors import Executor, finished
from pruning_client.stored.planned_shards import PlannedShards
from pruning_client.transport.retry import Attempts
from pruning_proto.formats import BY_NUMBER
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.local import DISTRIBUTION
from pruning_service.local_settings import LocalSettings
from pruning_service.messages.plan_and_report import report_messages
from pruning_service.parts import (
    FAILURES,
    Completed,
    Division,
    PartRunner,
    Phase,
    PhaseKind,
    RecordError,
    WholePlan,
    check_record,
    seeded,
    steps,
)
from pruning_service.status import failure, refusal_of
from pruning_service.stores.errors import ObjectChangedError, ObjectMissingError
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri

_log: Final = logging.getLogger(__name__)

_INLINED: Final = "inlined"
"""The object with the bytes of a checkpoint that are in no file of a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedRun:
    """Where the parts of a job are done, and what is kept of them.

    `label`: the job, for messages. `watch`: called with each phase, how many of its parts are done, and of how many.
    """

    label: str
    stores: Stores
    records: PartRecords
    executor: Executor
    settings: LocalSettings
    watch: Callable[[Phase, int, int], object] = lambda _phase, _done, _parts: None


class DividedConnection:
    """A connection of one job. `target`, once it is set, is what the call with a result writes to.

    Its plan is not divided if the target is not in files of `PlannedShards`. `why_undivided`: of the last call that was
    not carried out in parts.
    """

    def __init__(self, connection: Connection, run: DividedRun) -> None:
        self._connection = connection
        self._run = run
        self.target: SplitFiles | None = None
        self.why_undivided: str | None = None

    def prune(
        self, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None, attempts: Attempts
    ) -> Outcome:
        """Carry out a call, in parts if its plan can be divided. Raises: PruningError, StoreError."""
        call = self._divided(exchange)
        if call is None:
            return self._connection.prune(exchange, write, watcher, attempts)
        try:
            call.carry_out(exchange, watcher, attempts)
        except FAILURES as error:
            exchange.receive(pb.PruneResponse(failure=failure(refusal_of(error, "of the job"), "")))
        return exchange.finish()

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Return what is offered."""
        return self._connection.capabilities(attempts)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _divided(self, exchange: Exchange) -> "_DividedCall | None":
        """Return a call in parts; None if it is to be carried out at once."""
        output = BY_NUMBER[exchange.options.output]
        shards = None if self.target is None else self.target.files
        if self.target is None or not isinstance(shards, PlannedShards) or not output.has_file:
            self.why_undivided = "its result is not in several files of a store"
            return None
        try:
            options, header = seeded(exchange.options), exchange.source.header
            whole = WholePlan(options, header, version(DISTRIBUTION), self._run.settings)
        except FAILURES:
            return None  # the call says the same
        why = whole.indivisible
        found = None if why is not None else self._described(whole, exchange, self.target, shards)
        if isinstance(found, _DividedCall):
            return found
        self.why_undivided = why or str(found)
        _log.info("job not divided name=%s why=%s", self._run.label, self.why_undivided)
        return None

    def _described(
        self, whole: WholePlan, exchange: Exchange, target: SplitFiles, shards: PlannedShards
    ) -> "_DividedCall | str":
        """Return the call in parts, or why it is not to be divided."""
        with _planning(shards):
            target.begin(whole.result, whole.renamed)
        files = [
            ResultFile(file, planned.size, planned.header, tuple(target.results[file]))
            for file, planned in shards.planned.items()
        ]
        division = whole.divide([file.results for file in files])
        if division.indivisible is not None:
            return division.indivisible
        runner = PartRunner(division, self._run.settings)
        peaks = [runner.peak_bytes(part) for part in range(division.parts)]
        if max(peaks) > self._run.settings.memory_bytes:
            return f"a part takes {max(peaks):,} bytes of memory, more than there is"
        extents = extents_of(exchange.source, self._inline)
        if extents is None:
            return "the checkpoint is not in stores as it is"
        described = JobDivision(
            options=whole.options,
            header=whole.header,
            version=whole.version,
            extents=extents,
            target=str(shards.store.uri),
            files=files,
        )
        return _DividedCall(self._run, whole, division, described, shards, peaks)

    def _inline(self, pieces: Iterable[memoryview], size: int) -> Extent:
        """Write bytes into an object beside the records, unless they are there already."""
        store = self._run.stores.open(self._run.records.uri)
        try:
            found = store.find(_INLINED)
        except ObjectMissingError:
            found = None
        if found is None or found.size != size:
            with store.writer(_INLINED, size) as writer:
                for piece in pieces:
                    writer.write(piece)
                writer.complete()
            found = store.find(_INLINED)
        return Extent(size, 0, str(store.uri), found)


@contextmanager
def _planning(shards: PlannedShards) -> Iterator[None]:
    shards.is_planning = True
    shards.planned.clear()
    try:
        yield
    finally:
        shards.is_planning = False


@dataclass(frozen=True, slots=True)
class _DividedCall:
    """One call in parts. `peaks`: the bytes that each part takes."""

    run: DividedRun
    whole: WholePlan
    division: Division
    described: JobDivision
    shards: PlannedShards
    peaks: Sequence[int]

    def carry_out(self, exchange: Exchange, watcher: Watcher | None, attempts: Attempts) -> None:
        """Go through all phases, and hand plan, header and report to the exchange.

        Raises: Refusal, PruningError of the engine, StoreError; DeadlineError; whatever `watcher` raises.
        """
        data = self.described.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        before = self.run.records.part(DIVISION)
        if before != data:
            self._check_unchanged(before)
            self.run.records.keep_part(DIVISION, data)
        remember(digest, self.described, self.division)
        for message in self.whole.messages("", "cpu"):
            exchange.receive(message)
        exchange.receive(memoryview(self.whole.result_header))

        def step() -> None:
            if attempts.seconds_left == 0:
                raise DeadlineError("pruning did not finish in time; allow it more with a longer timeout")
            if watcher is not None:
                watcher(exchange.progress)

        step()
        with sharing(self.run.stores, self.shards.check):
            completed = self._all_phases(digest, exchange, step)
        for message in self._report(completed):
            exchange.receive(message)
        step()

    def _check_unchanged(self, before: bytes | None) -> None:
        """Raise ObjectChangedError if parts were done from another version of the checkpoint's files."""
        try:
            earlier = None if before is None else division_from(before)
        except RecordError:
            return
        if earlier is None or replace(earlier, extents=()) != replace(self.described, extents=()):
            return  # its records are of another division, and are not used
        for old, new in zip(earlier.extents, self.described.extents, strict=False):
            if old != new:
                raise ObjectChangedError(
                    StoreUri.parse(new.place).child(new.found.key),
                    "was changed since the job began, and parts of the result are of what it was; begin another job",
                )

    def _all_phases(self, digest: str, exchange: Exchange, step: Callable[[], None]) -> Completed:
        following = steps(self.division)
        phase = next(following)
        while True:
            records: dict[int, bytes] = {}
            self.run.watch(phase, 0, len(phase.parts))
            for part, record in self._records(phase, digest):
                records[part] = record
                self.run.watch(phase, len(records), len(phase.parts))
                if phase.kind is PhaseKind.WRITE:
                    self._is_written(part, exchange)
                step()
            try:
                phase = following.send([records[part] for part in phase.parts])
            except StopIteration as end:
                completed: Completed = end.value
                return completed

    def _is_written(self, part: int, exchange: Exchange) -> None:
        file = self.described.files[part]
        self.shards.completed.append(file.key)
        exchange.sent(self.division.divided.parts[part].source_bytes)
        exchange.written_elsewhere(file.size - len(file.header))

    def _records(self, phase: Phase, digest: str) -> Iterator[tuple[int, bytes]]:
        """Yield the parts of a phase with their records: those that are there, then those that are done now."""
        missing = []
        for part in phase.parts:
            record = self._kept(phase, part)
            if record is None:
                missing.append(part)
            else:
                yield part, record
        token = phase.to_bytes(self.division.name)
        tasks = [self._task(phase, part, digest, token) for part in missing]
        for task, record in finished(self.run.executor, tasks):
            self.run.records.keep_part(_name(phase, task.part), record)
            yield task.part, record

    def _kept(self, phase: Phase, part: int) -> bytes | None:
        """Return the record of a part that is done; None if it is to be done."""
        record = self.run.records.part(_name(phase, part))
        if record is None:
            return None
        try:
            check_record(record, self.division, phase, part)
        except RecordError as error:
            _log.warning("record not used name=%s why=%s", self.run.label, error)
            return None
        return record if phase.kind is not PhaseKind.WRITE or self._is_there(part) else None

    def _is_there(self, part: int) -> bool:
        file = self.described.files[part]
        try:
            return self.shards.store.find(file.key).size == file.size
        except ObjectMissingError:
            return False

    def _task(self, phase: Phase, part: int, digest: str, token: bytes) -> PartTask:
        return PartTask(
            label=self.run.label,
            stores=self.run.stores.settings,
            records=str(self.run.records.uri),
            digest=digest,
            phase=token,
            phase_name=phase.name,
            part=part,
            memory_bytes=self.peaks[part],
            threads=self.run.executor.threads,
        )

    def _report(self, completed: Completed) -> Iterator[pb.PruneResponse]:
        report = completed.report
        last = pb.Report(
            stage_seconds=report.seconds,
            device=report.device,
            seed=report.seed,
            version=self.whole.version,
            reproducible=report.reproducible,
            result_bytes=self.whole.prepared.result_bytes,
        )
        return report_messages(report, last)


def _name(phase: Phase, part: int) -> str:
    return f"{phase.name}-part-{part}"
