"""What a rule decides for one parameter."""

from collections.abc import Mapping
from dataclasses import dataclass

from pruning_engine.kernels.backend import BoolArray, Flat
from pruning_engine.kernels.packed_mask import PackedMask


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The mask that a rule leaves, and new weights if it changes any; `ParameterState.keep` applies it.

    Attributes:
        mask: the entries that stay unpruned; none that was pruned before.
        weight: the weights from now on, flat; None: as they were.
        is_ranked: whether magnitudes were ranked, so that `threshold` holds instead of an earlier rule's.
        threshold: the largest magnitude that was pruned; None if nothing was.
        kept: of dims along which coupled channels were pruned, the positions that remain from now on; None: no dims.
    """

    mask: PackedMask
    weight: Flat | None = None
    is_ranked: bool = False
    threshold: float | None = None
    kept: Mapping[int, BoolArray] | None = None
