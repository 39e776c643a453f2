"""SparseGPT's update: one pass over the columns; later columns compensate the error of earlier ones.

Source: Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023,
arXiv:2301.00774, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives, LayerSize
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.choices import given
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.memory import eliminate_bytes
from pruning_engine.methods.sparsegpt import eliminate
from pruning_engine.scores.layer import Flags, Layer
from pruning_engine.scores.number_checks import check_damping, check_whole
from pruning_engine.selection.outcome import EliminatedWeights
from pruning_engine.updates.update import NewWeights, Update
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS

BLOCK: Final = 128
"""The paper's."""

DAMPING: Final = 0.01
"""The paper's."""


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

    def working_bytes(self, size: LayerSize) -> int:
        """Return the bytes of an elimination of one matrix, and of what the others have become."""
        others = (size.matrices - 1) * size.rows * size.columns * size.itemsize
        return 2 * others + eliminate_bytes(size.rows, size.columns, size.itemsize, self.block or BLOCK)

    def shared_bytes(self, size: LayerSize) -> int:
        """Return the bytes of the factor of H."""
        return size.gram_bytes

    def new_weights(self, layer: Layer, keep: Flags, eliminated: EliminatedWeights | None) -> NewWeights:
        """Return what one pass over the columns leaves; the score's own, if it has made the same pass."""
        block, asked = self.block or BLOCK, DAMPING if self.damping is None else self.damping
        if eliminated is not None and (eliminated.block, eliminated.asked) == (block, asked):
            return NewWeights(weight=eliminated.weight, asked=asked, damping=eliminated.damping)
        dampings = [asked]

        def one(index: int, gram: Gram) -> Array:
            found = eliminate(layer.weight[index], gram, given(keep[index]), block=block, damping=asked)
            dampings.append(found.damping)
            return found.weight

        return NewWeights(weight=layer.each(one), asked=asked, damping=max(dampings))
