"""What an update of the remaining weights returns."""

from dataclasses import dataclass

from pruning_engine.methods.arrays import Array


@dataclass(frozen=True, slots=True)
class Updated:
    """New weights.

    Attributes:
        weight: (R, C), 0 where pruned.
        damping: what was used, relative to mean(diag H): at least what was asked for.
    """

    weight: Array
    damping: float
