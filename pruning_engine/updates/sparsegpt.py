"""SparseGPT's update: one pass over the columns; later columns compensate the error of earlier ones.

Source: Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023,
arXiv:2301.00774, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.updates.update import Update, check_damping, check_whole
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS

MOST_COLUMNS: Final = 4_096
"""The largest block."""


@dataclass(frozen=True, slots=True)
class SparseGpt(Update):
    """`block`: columns that are updated together, None: 128. `damping`: as in Refit, None: 0.01."""

    field: ClassVar[str] = "sparsegpt"
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,),)

    block: int | None = None
    damping: float | None = None

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.block, MOST_COLUMNS, f"{path}.block")
        check_damping(self.damping, f"{path}.damping")
