"""What a rule decides for one parameter."""

from collections.abc import Mapping
from dataclasses import dataclass

from pruning_engine.kernels.backend import BoolArray, Flat, Floats
from pruning_engine.kernels.input_matrix import Matrices
from pruning_engine.kernels.packed_mask import PackedMask


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EliminatedWeights:
    """What a score that finds mask and weights together left of the weights, where the rule's update may begin.

    Attributes:
        weight: (E, R, C), 0 where pruned.
        block: columns that were decided together; None: all.
        asked: the damping that was asked for.
        damping: what was used.
    """

    weight: Matrices
    block: int | None
    asked: float
    damping: float


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The mask that a rule leaves, and new weights if it changes any; `ParameterState.keep` applies it.

    Attributes:
        mask: the entries that stay unpruned; none that was pruned before.
        weight: the weights from now on, flat; None: as they were.
        is_ranked: whether magnitudes were ranked, so that `threshold` holds instead of an earlier rule's.
        threshold: the largest magnitude that was pruned; None if nothing was.
        eliminated: what a score that finds mask and weights together left of the weights; None for all others.
        damping: what was added to the diagonal of a Gram matrix, times its mean; None: nothing was factored.
        asked_damping: what was asked for, and grew to `damping` if it was not enough.
        bias_delta: what the rule's update adds to the bias of the layer; None: nothing.
        kept: of dims along which coupled channels were pruned, the positions that remain from now on; None: no dims.
    """

    mask: PackedMask
    weight: Flat | None = None
    is_ranked: bool = False
    threshold: float | None = None
    kept: Mapping[int, BoolArray] | None = None
    eliminated: EliminatedWeights | None = None
    damping: float | None = None
    asked_damping: float | None = None
    bias_delta: Floats | None = None
