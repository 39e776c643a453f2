"""Which scale each entry of a scaled tensor has. Knows shapes only.

A scale is one number for a block of entries. Blocks are boxes of the same size, cut short at the end of a dim; along
each dim a block has 1 entry, a power of two of them, or all.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]

Positions: TypeAlias = Any
"""Flat positions: a numpy array or a torch tensor of integers."""


class UnfitScaleError(Exception):
    """No blocks of a weight have as many scales as there are."""


@dataclass(frozen=True, slots=True)
class ScaleLayout:
    """Blocks of a tensor: by dim, its size, the size of a block, and how many blocks there are."""

    shape: Shape
    blocks: Shape
    counts: Shape

    @property
    def scales(self) -> int:
        """The number of scales."""
        return prod(self.counts)

    def indices(self, positions: Positions) -> Positions:
        """Return the flat index of the scale of each flat position."""
        index, stride, rest = positions * 0, 1, positions
        for size, block, count in zip(reversed(self.shape), reversed(self.blocks), reversed(self.counts), strict=True):
            if count > 1:
                index = index + rest % size // block * stride
            rest = rest // size
            stride *= count
        return index

    def rows(self) -> "ScaleLayout":
        """Return the layout of all dims but the last, whose positions are the rows of the tensor."""
        return ScaleLayout(self.shape[:-1], self.blocks[:-1], self.counts[:-1])


def scale_layout(weight: Shape, scale: Shape) -> ScaleLayout:
    """Return the blocks of a weight of one shape whose scales have another.

    A scale of one number is for all entries. Else its dims are those of the weight, the first ones if it has fewer.
    Raises: UnfitScaleError if no such blocks give this number of scales.
    """
    if prod(scale) == 1:
        return ScaleLayout(weight, tuple(max(1, size) for size in weight), (1,) * len(weight))
    if len(scale) > len(weight):
        raise UnfitScaleError
    counts = scale + (1,) * (len(weight) - len(scale))
    if len(scale) == 1 < len(weight) and scale != weight[:1]:  # parts of a fused weight need not be alike
        raise UnfitScaleError
    return ScaleLayout(weight, tuple(map(_block, weight, counts)), counts)


def _block(size: int, count: int) -> int:
    """Return the entries of a block along a dim of `size` that has `count` of them: the power of two that fits.

    No two fit: ceil(size / block) = count says size / count <= block < size / (count - 1), and the upper limit is at
    most twice the lower one.
    """
    if count == 1:
        return max(1, size)
    block = 1 << max(0, -(-size // max(1, count)) - 1).bit_length()
    if -(-size // block) != count:
        raise UnfitScaleError
    return block
