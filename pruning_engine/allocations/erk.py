"""Erdős-Rényi-Kernel: small tensors stay denser than large ones.

Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners" (RigL), 2020, arXiv:1911.11134, section 3 (1).
"""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.allocations.allocation import Allocation


@dataclass(frozen=True, slots=True)
class ErdosRenyiKernel(Allocation):
    """The density of a tensor is proportional to the sum of its sizes over their product."""

    field: ClassVar[str] = "erk"
