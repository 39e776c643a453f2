"""Refit: least squares over the remaining weights.

Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models", 2024,
arXiv:2406.07831, section 3.3: conjugate gradients on the support, preconditioned by the diagonal.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.updates.update import Update, check_damping, check_whole
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS

_MOST_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Refit(Update):
    """Each output channel's remaining weights become those that change its outputs least.

    `steps`: the most steps of conjugate gradients, None: 20. `damping`: added to the diagonal of the Gram matrix,
    times its mean; None: 0.001 for entries and 0.01 for channels, more with few tokens.
    """

    field: ClassVar[str] = "refit"
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,),)

    steps: int | None = None
    damping: float | None = None

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.steps, _MOST_STEPS, f"{path}.steps")
        check_damping(self.damping, f"{path}.damping")
