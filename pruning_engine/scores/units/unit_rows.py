"""Units of coupled channels as the layers that compute them see them: rows of weights.

`granularities/consumers.py` says which layers these are.
"""

from dataclasses import dataclass

import numpy as np

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import Floats, Integers
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.cpu.channel_ranges import channel_extremes
from pruning_engine.kernels.input_matrix import flags_of
from pruning_engine.scores.parameters import ArrivedParameter


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UnitRows:
    """The units in one parameter that computes them.

    Attributes:
        parameter: with weights as they arrived.
        dim: of its output channels.
        positions: (units, k), those of each unit along `dim`.
    """

    parameter: ArrivedParameter
    dim: int
    positions: Integers

    def ranges(self) -> Floats:
        """Return max(w) + |min(w)| of each position, summed over the positions of each unit.

        Raises: CheckpointError for NaN.
        """
        planned, prior = self.parameter.planned, self.parameter.prior
        flags = None if prior.is_full else flags_of(prior, self.parameter.backend)
        layout = channel_layout(planned.shape, self.dim)
        most, least = channel_extremes(self.parameter.arrived.host(), flags, layout)
        ranges = (most + np.abs(least))[self.positions]
        if np.isnan(ranges).any():
            raise CheckpointError(
                Reason.NAN_WEIGHTS,
                f"tensor {planned.weight!r} holds NaN among the entries that are ranked; NaN has no rank",
                tensor=planned.weight,
            )
        sums: Floats = ranges.sum(axis=1)
        return sums
