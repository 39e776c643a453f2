"""The table of all allocations. To add one, write its class in a file of its own and add the class here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pruning_engine.allocations.allocation import Allocation
from pruning_engine.allocations.erk import ErdosRenyiKernel
from pruning_engine.allocations.least_predicted_error import LeastPredictedError
from pruning_engine.allocations.owl import Owl

ALLOCATIONS: Final[Mapping[str, type[Allocation]]] = MappingProxyType(
    {allocation.field: allocation for allocation in (ErdosRenyiKernel, Owl, LeastPredictedError)}
)
"""Every allocation, by its name on the wire."""
