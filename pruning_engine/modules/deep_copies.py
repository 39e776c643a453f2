"""Lets `copy.deepcopy` copy a pruned module.

The weight under its mask is the outcome of an operation, and torch refuses to deep-copy those. Here it carries what
copies it: the copy is made of the copied mask and the copied `_orig`, so gradients reach the copy's own parameters.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from pruning_engine.modules.mask_tensors import masked


@dataclass(frozen=True, slots=True, eq=False)
class CopyMasked:
    """Called by `copy.deepcopy` in place of the tensor's own copying. Pickles with its tensor."""

    orig: torch.Tensor
    mask: torch.Tensor

    def __call__(self, memo: dict[int, Any]) -> torch.Tensor:
        """Return the weight of the copy; `memo` holds what has been copied already."""
        if not self.orig.is_leaf:  # put in for one call by torch.func.functional_call; the next forward replaces it
            return masked(self.orig.detach(), self.mask)
        orig, mask = copy.deepcopy(self.orig, memo), copy.deepcopy(self.mask, memo)
        with torch.enable_grad():
            return copyable(masked(orig, mask), orig, mask)


def copyable(weight: torch.Tensor, orig: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Let `copy.deepcopy` work on `weight`, which is `orig` under `mask`; give it back."""
    if weight is not orig:
        weight.__deepcopy__ = CopyMasked(orig, mask)  # type: ignore[method-assign]  # on this one tensor
    return weight
