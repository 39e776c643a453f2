"""Amounts by predicted error: the sum over all tensors is least."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.allocations.allocation import Allocation
from pruning_engine.checkpoints.statistics import Alternatives
from pruning_proto.names import IN_GRAM, INPUTS


@dataclass(frozen=True, slots=True)
class LeastPredictedError(Allocation):
    """The sum of the relative predicted errors of all tensors is least. Needs statistics for each."""

    field: ClassVar[str] = "least_predicted_error"
    divides: ClassVar[bool] = False
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
