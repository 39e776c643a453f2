"""Phases: what is done with the parts of a plan, one phase after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pruning_engine.selection.cut_search import Cut
from pruning_service.parts.records import Record, RecordError, read, written

Cuts = Mapping[int, Cut]
"""The cuts that are known, by the number of the stage."""

_NO_PART: Final = -1


class PhaseKind(StrEnum):
    """What is done with each part."""

    SAMPLE = "sample"
    """Samples are drawn of what a rule of global scope compares."""
    LOOK = "look"
    """What is near the cut is counted and collected."""
    WRITE = "write"
    """Everything is pruned, and the results are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase: the same is done with each of some parts, in any order, by any process.

    `parts`: their numbers. `stage`: whose cut is searched. `round`: how often has been looked, from 1. `bracket`: the
    keys between which it is. `cuts`: those that are known.
    """

    kind: PhaseKind
    parts: tuple[int, ...]
    cuts: Cuts
    stage: int = 0
    round: int = 0
    bracket: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Its name, which no other phase of the division has: letters, digits and dashes."""
        match self.kind:
            case PhaseKind.SAMPLE:
                return f"sample-{self.stage}"
            case PhaseKind.LOOK:
                return f"look-{self.stage}-{self.round}"
            case PhaseKind.WRITE:
                return "write"

    def to_bytes(self, division: bytes) -> bytes:
        """Return it as bytes, for other processes. `division`: what it belongs to."""
        cuts = {str(stage): [cut.key, dict(cut.equal)] for stage, cut in self.cuts.items()}
        fields = {
            "kind": self.kind,
            "parts": self.parts,
            "cuts": cuts,
            "stage": self.stage,
            "round": self.round,
            "bracket": self.bracket,
        }
        return written(Record(fields), division, "phase", _NO_PART)


def phase_from(data: bytes, division: bytes) -> Phase:
    """Return the phase that another process has written. Raises: RecordError."""
    fields = read(data, division, "phase", _NO_PART).fields
    try:
        return Phase(
            kind=PhaseKind(fields["kind"]),
            parts=tuple(fields["parts"]),
            cuts={int(stage): Cut(key, equal) for stage, (key, equal) in fields["cuts"].items()},
            stage=fields["stage"],
            round=fields["round"],
            bracket=tuple(fields["bracket"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the record of a phase lacks something: {error!r}") from error
