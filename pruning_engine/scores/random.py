"""Random importance."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score, ScoringContext


@dataclass(frozen=True, slots=True)
class Random(Score):
    """Random importance, from the recipe's seed."""

    field: ClassVar[str] = "random"
    ranks: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def candidates(self, parameter: ArrivedParameter, context: ScoringContext) -> Candidates:
        """Return the unpruned entries in random order."""
        key = key_of(context.seed, context.position, parameter.planned.name)
        return context.backend.random(key, parameter.mask)
