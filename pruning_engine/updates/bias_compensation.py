"""Bias compensation: the biases take up the mean of what was pruned.

Source: An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models" (FLAP), 2024,
arXiv:2312.11983, section 4.3: b' = b + (W - W') mean(x).
"""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.updates.update import Update
from pruning_proto.names import IN_COUNT, IN_SUM


@dataclass(frozen=True, slots=True)
class BiasCompensation(Update):
    """The mean of what was pruned is added to the layer's bias, where it has one; weights stay as they are."""

    field: ClassVar[str] = "bias_compensation"
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_SUM,), (IN_COUNT,))
