"""Swaps: a better mask of as many entries; no weight changes.

Source: "SparseSwaps", 2025, arXiv:2512.10922.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives, LayerSize, UsesStatistics
from pruning_engine.methods.memory import swap_bytes
from pruning_engine.scores.number_checks import check_whole
from pruning_proto.names import IN_GRAM, INPUTS

_MOST_STEPS: Final = 10_000
_MOST_CANDIDATES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Swaps(UsesStatistics):
    """Within each output channel, a kept entry is pruned and a pruned one restored while that lowers the error.

    `steps`: the most swaps of one output channel, None: 50. `candidates`: entries of either side that are looked at
    in each step, None: 48.
    """

    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)

    steps: int | None = None
    candidates: int | None = None

    def working_bytes(self, size: LayerSize) -> int:
        """Return the bytes of swaps in one matrix, and of the masks of all."""
        return 2 * size.entries + swap_bytes(size.rows, size.columns, size.itemsize)

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.steps, _MOST_STEPS, f"{path}.steps")
        check_whole(self.candidates, _MOST_CANDIDATES, f"{path}.candidates")
