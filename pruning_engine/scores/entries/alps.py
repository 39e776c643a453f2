"""ALPS: which entries are pruned, and what the others become, are found together.

Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models", 2024,
arXiv:2406.07831, algorithm 1; see `methods.alps`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives, LayerSize
from pruning_engine.methods.alps import alps
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.choices import Choice
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.memory import alps_bytes
from pruning_engine.methods.sparsegpt import Eliminated
from pruning_engine.scope import Scope
from pruning_engine.scores.entries.eliminated import outcome_of
from pruning_engine.scores.number_checks import check_damping, check_whole
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection.outcome import Outcome
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS

STEPS: Final = 300
"""At most; nearly all layers need fewer."""

DAMPING: Final = 0.05

_MOST_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Alps(Score):
    """Entries by alternating between all weights and those that a mask leaves, until the mask no longer changes.

    `steps`: the most alternations, None: 300. `damping`: added to the diagonal of H, times the diagonal, None: 0.05.
    """

    field: ClassVar[str] = "alps"
    ranks: ClassVar[bool] = True
    eliminates: ClassVar[bool] = True
    default_scope: ClassVar[Scope] = Scope.OUTPUT_CHANNEL
    ranks_channels: ClassVar[bool] = False
    ranks_values: ClassVar[bool] = False  # what pruning an entry costs depends on all others
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,),)

    steps: int | None = None
    damping: float | None = None

    @property
    def is_reproducible(self) -> bool:
        """BLAS decides the last bits of an inverse."""
        return False

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.steps, _MOST_STEPS, f"{path}.steps")
        check_damping(self.damping, f"{path}.damping")

    def working_bytes(self, size: LayerSize) -> int:
        """Return the bytes of ALPS of one matrix, and of what the others have become."""
        others = (size.matrices - 1) * size.rows * size.columns * size.itemsize
        return 2 * others + alps_bytes(size.rows, size.columns, size.itemsize)

    def eliminated(self, parameter: ArrivedParameter, choices: Sequence[Choice]) -> Outcome:
        """Return what remains where each matrix is pruned by its choice, and the weights that make up for it.

        Raises: CheckpointError if the statistics cannot be used.
        """
        steps, asked = self.steps or STEPS, DAMPING if self.damping is None else self.damping

        def prune(weight: Array, gram: Gram, choose: Choice, keep: Array) -> Eliminated:
            return alps(weight, gram, choose, keep=keep, steps=steps, damping=asked)

        return outcome_of(parameter, choices, prune, asked=asked)
