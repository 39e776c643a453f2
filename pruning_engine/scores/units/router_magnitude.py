"""Experts by their rows in the router."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.norm import Norm
from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class RouterMagnitude(Score):
    """The sum of |w| of an expert's row in its router; the least are pruned first.

    Source: compressed-tensors 0.20, which ranks experts so.
    """

    field: ClassVar[str] = "router_magnitude"
    ranks: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = True
    only_granularity: ClassVar[str | None] = "units"
    scores_routers: ClassVar[bool] = True

    @property
    def norm(self) -> Norm | None:
        """The L1 norm."""
        return 1.0
