"""Statistics as lists of numbers, and statistics of numbers."""

from typing import Any

import numpy as np

from pruning_client import Statistics
from pruning_client.statistics.names import Kind
from pruning_client.statistics.tensor import StatisticsTensor, in_memory

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def values(statistics: Statistics, name: str) -> Any:
    """Return a tensor of statistics, by a name on disk or in memory, as Python's numbers."""
    weight, _, suffix = name.rpartition(":")
    tensor = statistics.for_weights([weight], [f":{suffix}"]).tensors[name]
    return np.frombuffer(tensor.data(), DTYPES[tensor.dtype]).reshape(tensor.shape).tolist()


def tensor(numbers: Any, dtype: str = "F64") -> StatisticsTensor:
    """Return a tensor of statistics with these numbers."""
    array = np.array(numbers, DTYPES[dtype])
    return in_memory(dtype, array.shape, memoryview(array.tobytes()))


def statistics(kind: Kind = "norms", aliases: dict[str, str] | None = None, **tensors: Any) -> Statistics:
    """Return statistics of these numbers: `q__in_sum2=[1.0]` is the tensor `q:in_sum2`."""
    named = {name.replace("__", ":"): tensor(numbers) for name, numbers in tensors.items()}
    return Statistics(kind=kind, tensors=named, aliases=aliases or {})
