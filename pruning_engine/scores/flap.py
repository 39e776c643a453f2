"""FLAP's metric: units whose inputs hardly vary, on small weights, are the least important.

Source: An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models", 2024, arXiv:2312.11983,
section 4.1 (WIFV): the variance of input j times the squared norm of column j; section 4.2: standardised within each
layer where layers compete. Here the variance is over all tokens, and that of a unit of several channels is their sum.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.kernels.backend import BoolArray, Floats
from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitInputs, UnitRanks, UnitsToRank, ranked
from pruning_proto.names import IN_COUNT, IN_SUM, IN_SUM2


@dataclass(frozen=True, slots=True)
class Flap(Score):
    """The variance of the units' inputs times the squared weights that they are multiplied by."""

    field: ClassVar[str] = "flap"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_units: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_SUM2,), (IN_SUM,), (IN_COUNT,))

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return the sum over the matrices that consume each unit; standardised, if groups compete."""
        metric = sum(map(_fluctuation, units.inputs), np.zeros(len(units.gone)))
        return ranked(_standardised(metric, units.gone) if units.is_global else metric)


def _fluctuation(inputs: UnitInputs) -> Floats:
    layer, index = inputs.layer, inputs.index
    if layer.squares is None or layer.means is None or layer.counts is None:
        raise RuntimeError(f"{layer.name!r} was planned with statistics that it does not have")
    mean_square = layer.squares[index] / max(1.0, float(layer.counts[index]))
    variance = np.maximum(mean_square - layer.means[index] ** 2, 0)
    return inputs.summed(variance * np.square(inputs.weight, dtype=np.float64).sum(axis=0))


def _standardised(metric: Floats, gone: BoolArray) -> Floats:
    there = metric[~gone]
    spread = float(there.std()) if len(there) else 0.0
    return (metric - there.mean()) / spread if spread > 0 else np.zeros_like(metric)
