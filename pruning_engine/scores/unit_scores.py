"""Scores of units that the caller sends: `w:unit_scores` beside the first tensor of a group's ties."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank, ranked
from pruning_proto.names import UNIT_SCORES


@dataclass(frozen=True, slots=True)
class UnitScores(Score):
    """One number for each unit; the least are pruned first, in global scope as they are."""

    field: ClassVar[str] = "unit_scores"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"
    auxiliary: ClassVar[tuple[str, ...]] = (UNIT_SCORES,)
    missing_hint: ClassVar[str] = "one number for each unit, beside the first tensor of the group's ties"

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the numbers as they were sent. Raises: CheckpointError if one is not finite."""
        scores = numbers_of(units.first.auxiliary(UNIT_SCORES).host(), np.float64)
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            name = units.first.planned.auxiliary[UNIT_SCORES].name
            raise CheckpointError(
                Reason.INVALID_AUXILIARY,
                f"auxiliary tensor {name!r} holds {scores[wrong[0]]} at position {wrong[0]}; scores of units must be "
                f"finite numbers",
                tensor=name,
            )
        return ranked(scores)
