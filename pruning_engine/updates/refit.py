"""Refit: least squares over the remaining weights.

Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models", 2024,
arXiv:2406.07831, section 3.3: conjugate gradients on the support, preconditioned by the diagonal. With the gradients of
the outputs, see `methods.refit_to_loss`.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.statistics import Alternatives, LayerSize
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.memory import refit_bytes
from pruning_engine.methods.preconditioner import RANK
from pruning_engine.methods.refit import refit, refit_channels
from pruning_engine.methods.refit_to_loss import Damping, refit_to_loss
from pruning_engine.scores.layer import Flags, Layer
from pruning_engine.scores.number_checks import check_damping, check_whole
from pruning_engine.selection.outcome import EliminatedWeights
from pruning_engine.updates.update import NewWeights, Update
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS, OUT_GRAM

STEPS: Final = 20
"""Of conjugate gradients; more change little."""

STEPS_TO_LOSS: Final = 30
"""The same where all output channels are solved for at once."""

DAMPING: Final = 0.001
"""Right from about 8 tokens per input channel."""

UNIT_DAMPING: Final = 0.01
"""For units."""

_ENOUGH_TOKENS: Final = 8
"""Tokens per input channel from which DAMPING is right."""

_ENOUGH_TOKENS_OF_UNITS: Final = 24
"""Those from which UNIT_DAMPING is right. With 2.2 of them, half of MiniLM's channels are best refitted with 0.1."""


_MOST_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Refit(Update):
    """Each output channel's remaining weights become those that change its outputs least; with the Gram matrix of the
    gradients of the outputs, those that raise the loss least.

    `steps`: the most steps of conjugate gradients, None: 20, or 30 with gradients. `damping`: added to the diagonal of
    the Gram matrix, times its mean; None: 0.001 for entries and 0.01 for channels, more with few tokens.
    """

    field: ClassVar[str] = "refit"
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,), (OUT_GRAM,))

    takes_over_elimination: ClassVar[bool] = True
    for_units: ClassVar[bool] = True

    steps: int | None = None
    damping: float | None = None

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.steps, _MOST_STEPS, f"{path}.steps")
        check_damping(self.damping, f"{path}.damping")

    def working_bytes(self, size: LayerSize) -> int:
        """Return the bytes of conjugate gradients on one matrix, and of what the others have become."""
        others = (size.matrices - 1) * size.rows * size.columns * size.itemsize
        return 2 * others + refit_bytes(size.rows, size.columns, size.itemsize)

    def shared_bytes(self, size: LayerSize) -> int:
        """Return the bytes of the largest directions of H."""
        return size.matrices * size.columns * min(RANK, size.columns // 4) * size.itemsize

    def new_weights(self, layer: Layer, keep: Flags, eliminated: EliminatedWeights | None) -> NewWeights:
        """Return the weights within the mask whose outputs are nearest to those of the layer as it arrived."""
        asked = default_damping(layer) if self.damping is None else self.damping
        dampings = [asked]

        def one(index: int, gram: Gram) -> Array:
            start = None if eliminated is None else eliminated.weight[index]
            gram.forget_factors()  # C² entries that conjugate gradients do not need
            weight, kept = layer.weight[index], keep[index]
            if layer.output_gram is None:
                steps = self.steps or STEPS
                found = refit(weight, kept, gram, steps=steps, damping=asked, start=start, in_place=True)
            else:
                steps, added = self.steps or STEPS_TO_LOSS, Damping(inputs=asked)
                found = refit_to_loss(weight, kept, gram, layer.output_gram, steps=steps, damping=added, start=start)
            dampings.append(found.damping)
            return found.weight

        return NewWeights(weight=layer.each(one), asked=asked, damping=max(dampings))

    def new_weights_of_units(self, layer: Layer, keep: Flags) -> NewWeights:
        """Return the same by one factorisation, which all rows share; of a matrix whose rows keep different entries of
        an input, because some were pruned before, by conjugate gradients."""
        asked = default_damping(layer, UNIT_DAMPING, _ENOUGH_TOKENS_OF_UNITS) if self.damping is None else self.damping
        dampings = [asked]

        def one(index: int, gram: Gram) -> Array:
            weight, mask = layer.weight[index], keep[index]
            remaining = mask.any(axis=0)
            if (mask == remaining).all():
                found = refit_channels(weight, remaining, gram, damping=asked)
            else:
                found = refit(weight, mask, gram, steps=self.steps or STEPS, damping=asked)
            dampings.append(found.damping)
            return found.weight

        return NewWeights(weight=layer.each(one), asked=asked, damping=max(dampings))


def default_damping(layer: Layer, damping: float = DAMPING, enough_tokens: int = _ENOUGH_TOKENS) -> float:
    """Return a damping, and more in proportion where few tokens per input channel would be fitted as noise."""
    if layer.tokens is None:
        return damping
    return damping * max(1.0, enough_tokens * layer.layout.columns / max(1.0, layer.tokens))
