"""Amounts by predicted error: the sum over all tensors is least."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.allocations.allocation import Allocation


@dataclass(frozen=True, slots=True)
class LeastPredictedError(Allocation):
    """The sum of the relative predicted errors of all tensors is least. Needs statistics for each."""

    field: ClassVar[str] = "least_predicted_error"
