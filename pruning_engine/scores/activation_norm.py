"""Units whose inputs are weakest are the least important: the L2 norm of a unit's activations, its weights apart."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.kernels.backend import Floats
from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitInputs, UnitRanks, UnitsToRank, ranked, relative_to_mean
from pruning_proto.names import IN_GRAM, IN_SUM2, INPUTS


@dataclass(frozen=True, slots=True)
class ActivationNorm(Score):
    """The L2 norm of the inputs of a unit, over all tokens and all matrices that consume it."""

    field: ClassVar[str] = "activation_norm"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_SUM2, IN_GRAM, INPUTS),)

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the norms; relative to the mean of the group, if groups compete."""
        norms = np.sqrt(sum(map(_squares, units.inputs), np.zeros(len(units.gone))))
        return ranked(relative_to_mean(norms, units.gone) if units.is_global else norms)


def _squares(inputs: UnitInputs) -> Floats:
    if inputs.layer.squares is None:
        raise RuntimeError(f"{inputs.layer.name!r} was planned with statistics that it does not have")
    return inputs.summed(inputs.layer.squares[inputs.index])
