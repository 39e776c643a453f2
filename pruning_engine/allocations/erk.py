"""Erdős-Rényi-Kernel: small tensors stay denser than large ones.

Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners" (RigL), 2020, arXiv:1911.11134, section 3 (1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.allocations.allocation import Allocation, Allotted
from pruning_engine.allocations.levels import Line, densities_at_total


@dataclass(frozen=True, slots=True)
class ErdosRenyiKernel(Allocation):
    """The density of a tensor is proportional to the sum of its sizes over their product."""

    field: ClassVar[str] = "erk"

    def densities(self, tensors: Sequence[Allotted], density: float) -> list[float]:
        """Return densities in proportion to these ratios; those above the limit of 1 are 1, and the rest share."""
        lines = [
            Line(
                entries=tensor.entries,
                offset=0.0,
                slope=sum(tensor.shape) / max(1, tensor.entries) or 1.0,
                least=tensor.least,
                most=tensor.most,
            )
            for tensor in tensors
        ]
        return densities_at_total(lines, density)
