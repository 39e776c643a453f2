"""Units of MLPs with a gate whose gate and up projections have weights in a small range are the least important.

Source: Martra, "Fragile Knowledge, Robust Instruction-Following: The Width Pruning Dichotomy in Llama-3.2", 2025,
arXiv:2512.22671: max(g) + |min(g)| + max(u) + |min(u)| of the rows g and u of a unit, as the author's code computes it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank, ranked, relative_to_mean


@dataclass(frozen=True, slots=True)
class GluPeakToPeak(Score):
    """The range of the weights of both rows that compute a unit; needs no statistics."""

    field: ClassVar[str] = "glu_peak_to_peak"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    ranks_gated_units: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the sums of the ranges; relative to the mean of the group, if groups compete.

        Raises: CheckpointError for weights that are NaN.
        """
        sums = sum((rows.ranges() for rows in units.rows), np.zeros(len(units.gone)))
        return ranked(relative_to_mean(sums, units.gone) if units.is_global else sums)
