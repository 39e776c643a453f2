"""Coupled channels that no longer contribute."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class Dead(Score):
    """No ranking: coupled channels are pruned whose every entry is zero or pruned, running statistics aside."""

    field: ClassVar[str] = "dead"
    only_granularity: ClassVar[str | None] = "units"
