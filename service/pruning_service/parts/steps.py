"""The phases of a division, in order, each from what the parts of those before have found."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pruning_engine.execution.stage_runner import StageRunner
from pruning_engine.execution.whole_report import whole_report
from pruning_engine.kernels.devices import backend_for
from pruning_engine.report import Report
from pruning_engine.selection.cut_search import Cut
from pruning_service.parts.phases import Phase, PhaseKind
from pruning_service.parts.records import read
from pruning_service.parts.report_records import all_done
from pruning_service.parts.search_records import looked_of, sampled_of
from pruning_service.parts.whole_plan import Division

Steps = Generator[Phase, Sequence[bytes], "Completed"]
"""Yields each phase; is sent the records of its parts, in their order; returns what was done."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What all parts together have done."""

    report: Report


def steps(division: Division) -> Steps:
    """Return the phases of a division.

    Raises: ValueError if it is indivisible. RecordError for a record that cannot be used. MismatchError for a count
        above what is unpruned.
    """
    if division.divided.indivisible is not None:
        raise ValueError(f"the plan cannot be carried out in parts: {division.divided.indivisible}")
    cuts: dict[int, Cut] = {}
    for stage in division.divided.searched:
        cuts[stage] = yield from _search(division, stage, cuts)
    phase = Phase(kind=PhaseKind.WRITE, parts=tuple(range(len(division.divided.parts))), cuts=cuts)
    records = yield phase
    done = all_done(
        read(record, division.name, phase.name, part) for part, record in zip(phase.parts, records, strict=True)
    )
    return Completed(whole_report(division.plan, done.done, done.device))


def check_record(record: bytes, division: Division, phase: Phase, part: int) -> None:
    """Raise RecordError for a record that cannot be used as that of a part."""
    read(record, division.name, phase.name, part)


def _search(division: Division, stage: int, cuts: dict[int, Cut]) -> Generator[Phase, Sequence[bytes], Cut]:
    """Return the cut of a stage, once the parts that have parameters of it have been looked into."""
    known = dict(cuts)
    parts = tuple(
        number
        for number, part in enumerate(division.divided.parts)
        if any(stage in parameter.stages for parameter in part.own)
    )
    search = StageRunner(division.plan, backend_for("cpu"), counts_zeros=False).search(stage)
    phase = Phase(kind=PhaseKind.SAMPLE, parts=parts, cuts=known, stage=stage)
    records = yield phase
    for part, record in zip(parts, records, strict=True):
        search.progress.add_sampled(sampled_of(read(record, division.name, phase.name, part)))
    search.aim()
    looks = 0
    while search.cut is None:
        looks += 1
        bracket = search.progress.bracket
        phase = Phase(kind=PhaseKind.LOOK, parts=parts, cuts=known, stage=stage, round=looks, bracket=bracket)
        records = yield phase
        for part, record in zip(parts, records, strict=True):
            search.progress.add_looked(looked_of(read(record, division.name, phase.name, part)))
        search.settle()
    return search.cut
