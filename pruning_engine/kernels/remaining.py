"""What remains of a tensor when positions of some of its dims are removed."""

from collections.abc import Mapping
from math import prod
from typing import TypeAlias

import numpy as np

from pruning_engine.kernels.backend import AnyBuffer, Backend, BoolArray
from pruning_engine.scale_layout import ScaleLayout

Kept: TypeAlias = Mapping[int, BoolArray]
"""For some dims of a tensor, which positions are kept."""


def kept_entries(shape: tuple[int, ...], kept: Kept) -> int:
    """Return how many entries remain."""
    return prod(int(np.count_nonzero(kept[dim])) if dim in kept else size for dim, size in enumerate(shape))


def kept_scales(layout: ScaleLayout, kept: Kept) -> Kept:
    """Return which scales are kept along each dim that has several; blocks are kept or removed as a whole."""
    return {dim: flags[:: layout.blocks[dim]] for dim, flags in kept.items() if layout.counts[dim] > 1}


def remaining(backend: Backend, tensor: AnyBuffer, kept: Kept, *, in_place: bool) -> AnyBuffer:
    """Return what remains. `in_place`: the tensor may be overwritten, and the result be the front of its memory."""
    result = tensor
    for dim in sorted(kept, key=lambda dim: float(kept[dim].mean())):  # the dim that loses most goes first
        result = backend.take(result, dim, np.flatnonzero(kept[dim]), in_place=in_place)
    return result
