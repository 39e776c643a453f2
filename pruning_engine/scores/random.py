"""Random importance."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class Random(Score):
    """Random importance, from the recipe's seed."""

    field: ClassVar[str] = "random"
    ranks: ClassVar[bool] = True
    is_random: ClassVar[bool] = True
