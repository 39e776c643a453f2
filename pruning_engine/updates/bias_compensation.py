"""Bias compensation: the biases take up the mean of what was pruned.

Source: An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models" (FLAP), 2024,
arXiv:2312.11983, section 4.3: b' = b + (W - W') mean(x).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.kernels.backend import Floats
from pruning_engine.kernels.input_matrix import Matrices
from pruning_engine.methods.bias_compensation import bias_delta
from pruning_engine.scores.layer import Layer
from pruning_engine.updates.update import Update
from pruning_proto.names import IN_COUNT, IN_SUM


@dataclass(frozen=True, slots=True)
class BiasCompensation(Update):
    """The mean of what was pruned is added to the layer's bias, where it has one; weights stay as they are."""

    field: ClassVar[str] = "bias_compensation"
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_SUM,), (IN_COUNT,))
    for_units: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = False
    changes_biases: ClassVar[bool] = True

    def bias_delta(self, layer: Layer, before: Matrices, after: Matrices) -> Floats | None:
        """Return what to add to the bias, (R,), where weights (E, R, C) changed; None: nothing is known of the inputs.

        Stacked experts have no bias that is theirs by name.
        """
        if layer.means is None or layer.layout.matrices != 1:
            return None
        delta: Floats = bias_delta(before[0].astype(np.float64), after[0].astype(np.float64), layer.means[0])
        return delta
