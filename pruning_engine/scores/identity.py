"""The score that prunes nothing."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class Identity(Score):
    """No ranking: nothing more is pruned."""

    field: ClassVar[str] = "identity"
    only_granularity: ClassVar[str | None] = "entries"
