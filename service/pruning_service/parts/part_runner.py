"""One part of one phase, carried out in this process."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.readings import Reading, SampleReading
from pruning_engine.execution.stage_runner import KnownCuts, StageRunner
from pruning_engine.granularities.rankings.entry_search import SearchOptions
from pruning_engine.kernels.devices import backend_for
from pruning_engine.planning.division import profile_of
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.runtime.threads import set_threads
from pruning_engine.selection.entries import TUNING
from pruning_proto.safetensors.header import Layout
from pruning_service.local_settings import LocalSettings
from pruning_service.parts.part_reader import PartReader, RangeStore, one_ahead
from pruning_service.parts.part_results import FileOrder, ResultSink, Tally, most_held
from pruning_service.parts.phases import Phase, PhaseKind
from pruning_service.parts.records import Record, written
from pruning_service.parts.report_records import record_of_done
from pruning_service.parts.search_records import record_of_looked, record_of_sampled
from pruning_service.parts.whole_plan import Division
from pruning_service.resources.devices import find_device, is_gpu, use_kernels
from pruning_service.resources.memory_estimate import peak_bytes
from pruning_service.streams.buffers import Buffers
from pruning_service.streams.skipped_ranges import Remaining

MOST_COLLECTED: Final = 1 << 20
"""Keys near a cut that the record of one part has; where there are more, these are counted in buckets."""

_SAMPLING: Final = SearchOptions(is_repeatable=True)
_LOOKING: Final = SearchOptions(tuning=replace(TUNING, most_collected=MOST_COLLECTED))

_KEY_BYTES: Final = 6 * 8
"""What a key takes that is sampled or collected: as it is, and in a record."""


class _NoSink:
    """Of phases that write nothing, and of output formats without results."""

    def write(self, name: str, data: memoryview) -> object:
        """Refuse it."""
        raise RuntimeError(f"there is nowhere to write result {name!r} of {len(data):,} bytes")


_NO_SINK: Final = _NoSink()


class PartRunner:
    """Carries out parts of one division in this process, one at a time. Raises: DeviceError."""

    def __init__(self, division: Division, settings: LocalSettings) -> None:
        set_threads(settings.threads)
        use_kernels(settings.kernels)
        self.device = find_device(settings.device)
        self._division = division
        self._plan = division.plan
        self._entries = {entry.name: entry for entry in division.prepared.file.tensors}
        self._remaining = Remaining(division.prepared.skipped)
        self._backend = backend_for(self.device)

    def run(self, phase: Phase, part: int, store: RangeStore, sink: ResultSink = _NO_SINK) -> bytes:
        """Carry out one part of a phase; return its record. `sink`: takes the results, where the phase writes.

        `peak_bytes` of the part must be free.
        Raises: PruningError for weights that cannot be pruned; what the store and the sink raise.
        """
        buffers = Buffers(self.peak_bytes(part), pinned=is_gpu(self.device))
        reader = PartReader(store, self._entries, self._remaining, buffers)
        match phase.kind:
            case PhaseKind.WRITE:
                record = self._write(phase, part, reader, sink)
            case PhaseKind.SAMPLE:
                record = self._sample(phase, part, reader)
            case PhaseKind.LOOK:
                record = self._look(phase, part, reader)
        return written(record, self._division.name, phase.name, part)

    def peak_bytes(self, part: int) -> int:
        """Return the most bytes that a part takes at one time, in any phase, beside what the process has anyway."""
        division, planned = self._division, self._division.divided.parts[part]
        profile = tuple(profile_of(self._plan, planned, division.divided.searched))
        names = {name for parameter in planned.parameters for name in parameter.sources}
        names.update(tensor.name for tensor in planned.copies.values())
        entries = tuple(entry for entry in division.prepared.file.tensors if entry.name in names)
        layout = Layout(entries, {}, division.header_bytes)
        collected = _KEY_BYTES * MOST_COLLECTED if division.divided.searched else 0
        late = most_held(planned.parameters, division.results_of(part), planned.copies)
        return peak_bytes(replace(self._plan, memory_profile=profile), layout, 0) + late + collected

    def _sample(self, phase: Phase, part: int, reader: PartReader) -> Record:
        runner, members = self._searching(phase, part)
        search = runner.search(phase.stage, options=_SAMPLING)
        reading = SampleReading(runner, phase.stage, search)
        sampled = [(planned, reading.blocks(planned)) for planned in members]
        with one_ahead(reader.blocks((planned, found) for planned, found in sampled if found is not None)) as blocks:
            for planned, found, data in blocks:
                reading.add_blocks(planned, found, data)
        _look_into(reading, reader.parameters([planned for planned, found in sampled if found is None]))
        return record_of_sampled(search.progress.sampled)

    def _look(self, phase: Phase, part: int, reader: PartReader) -> Record:
        runner, members = self._searching(phase, part)
        search = runner.search(phase.stage, options=_LOOKING)
        search.progress.look_between(*phase.bracket)
        _look_into(Reading(runner, phase.stage, search.look), reader.parameters(members))
        return record_of_looked(search.progress.looked)

    def _searching(self, phase: Phase, part: int) -> tuple[StageRunner, Sequence[PlannedParameter]]:
        """Return the stages before a search, and the parameters that it looks at."""
        own = self._division.divided.parts[part].own
        members = [parameter for parameter in own if phase.stage in parameter.stages]
        known = self._known(phase)
        return StageRunner(self._plan, self._backend, counts_zeros=False, known=known, parameters=members), members

    def _write(self, phase: Phase, part: int, reader: PartReader, sink: ResultSink) -> Record:
        planned = self._division.divided.parts[part]

        def copy(result: str) -> memoryview:
            return reader.tensor(planned.copies[result].name).data

        pruning = Pruning(
            self._plan,
            backend=self._backend,
            in_place=True,
            counts_zeros=True,
            known=self._known(phase),
            parameters=planned.parameters,
        )
        ordered = FileOrder(self._division.results_of(part), sink, planned.copies, copy)
        tally = Tally(planned.own)
        with one_ahead(reader.parameters(planned.parameters)) as parameters:
            for received in parameters:
                finished = deque(pruning.add(received))
                del received
                while finished:  # each is released as it leaves
                    state = finished.popleft()
                    tally.add(state)
                    ordered.add(state.results)
        ordered.check_complete()
        return record_of_done(tally.done(pruning.done), self.device)

    def _known(self, phase: Phase) -> KnownCuts:
        runner = StageRunner(self._plan, self._backend, counts_zeros=False)
        return {stage: runner.search(stage, cut=cut) for stage, cut in phase.cuts.items()}


def _look_into(reading: Reading, received: Iterator[ReceivedParameter]) -> None:
    with one_ahead(received) as parameters:
        for parameter in parameters:
            reading.add(parameter)
            del parameter
