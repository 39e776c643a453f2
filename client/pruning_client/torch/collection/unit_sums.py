"""Sums for each unit of a group, such as the layers of a stack or the experts of a block, and statistics of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruning_client.errors import MismatchError
from pruning_client.frameworks import torch as adaptor
from pruning_client.statistics.names import UnitKind
from pruning_client.statistics.statistics import Statistics
from pruning_client.statistics.tensor import StatisticsTensor, in_memory
from pruning_proto.names import UNIT_COUNT, UNIT_SUM


class UnitSums:
    """The sum and the number of what was measured of each unit, in fp64."""

    def __init__(self, units: int) -> None:
        self.sums = torch.zeros(units, dtype=torch.float64)
        self.counts = torch.zeros(units, dtype=torch.float64)

    def add(self, unit: int, values: Tensor) -> None:
        """Add one number for each token. Shape: (tokens,)."""
        self.sums[unit] += values.sum().item()
        self.counts[unit] += len(values)


def unit_statistics(
    kind: UnitKind, groups: Mapping[str, UnitSums], skipped: Mapping[str, str], model_type: str
) -> Statistics:
    """Return the statistics of groups of units, by their names. Raises: MismatchError for a sum that is not finite."""
    tensors: dict[str, StatisticsTensor] = {}
    for name, group in groups.items():
        if not group.sums.isfinite().all():
            unit = int(group.sums.isfinite().logical_not().nonzero()[0])
            raise MismatchError(
                f"unit {unit} of {name!r} has NaN or infinite values, with which no statistics can be computed; look "
                "at the batches, or run the model in a wider dtype",
                metadata={"tensor": name},
            )
        tensors |= {name + UNIT_SUM: _described(group.sums), name + UNIT_COUNT: _described(group.counts)}
    tokens = {name: int(group.counts.sum()) for name, group in groups.items()}
    return Statistics(kind=kind, tensors=tensors, tokens=tokens, skipped=dict(skipped), model_type=model_type)


def _described(tensor: Tensor) -> StatisticsTensor:
    dtype, shape = adaptor.describe(UNIT_SUM, tensor)
    return in_memory(dtype, shape, adaptor.view(tensor))
