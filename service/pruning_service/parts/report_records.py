"""What was done to the parameters of a part, as a record, and the records of all parts as what was done to all."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pruning_engine.execution.whole_report import Done
from pruning_engine.report import CurvePoint, GroupReport, TensorReport
from pruning_service.parts.records import Record, RecordError


def record_of_done(done: Done, device: str) -> Record:
    """Return what was done as a record. `device`: where."""
    fields = {
        "tensors": [asdict(report) for report in done.tensors.values()],
        "groups": [asdict(group) for group in done.groups],
        "zeros_before": done.zeros_before,
        "zeros": done.zeros,
        "seconds": done.seconds,
        "device": device,
    }
    return Record(fields)


@dataclass(frozen=True, slots=True)
class AllDone:
    """What was done to all parameters, and on which device: of several ones that of the first part."""

    done: Done
    device: str


def all_done(records: Iterable[Record]) -> AllDone:
    """Return what was done, from the records of all parts, in order.

    Raises: RecordError if two parts that decided the same group disagree.
    """
    found = [record.fields for record in records]
    groups: dict[tuple[int, str, tuple[str, ...]], GroupReport] = {}
    for group in (_group(fields) for each in found for fields in each["groups"]):
        if groups.setdefault((group.rule, group.name, group.tensors), group) != group:
            raise RecordError(f"two parts keep different units of group {group.name!r}: they ran on different devices")
    done = Done(
        tensors={row["name"]: _tensor(row) for each in found for row in each["tensors"]},
        groups=list(groups.values()),
        zeros_before=_sum([each["zeros_before"] for each in found]),
        zeros=_sum([each["zeros"] for each in found]),
        seconds=sum(each["seconds"] for each in found),
    )
    return AllDone(done, found[0]["device"] if found else "cpu")


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return a sum; None if one of the counts is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _tensor(row: dict[str, Any]) -> TensorReport:
    return TensorReport(**{**row, "curve": tuple(CurvePoint(**point) for point in row["curve"])})


def _group(fields: dict[str, Any]) -> GroupReport:
    return GroupReport(**{**fields, "kept": tuple(fields["kept"]), **_tuples(fields, "tensors", "scored")})


def _tuples(fields: dict[str, Any], *names: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(fields[name]) for name in names}
