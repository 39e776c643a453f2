"""How far the entries of a tensor moved, piece by piece, with numpy, which is imported with this module."""

import math
from typing import Final

import numpy as np

from pruning_client.models.numbers import Array, numbers
from pruning_proto.spans import spans

_BLOCK: Final = 1 << 15
"""Entries at a time: what is computed of them stays in the cache."""


class Changes:
    """Sums over the pieces of one tensor, before and after; the dtypes may differ, and `numbers` knows both."""

    def __init__(self, before: str, after: str) -> None:
        self._dtypes = (before, after)
        self._largest = 0.0
        self._moved = 0.0
        self._norm = 0.0

    def add(self, before: memoryview, after: memoryview) -> None:
        """Add a piece: the same entries of both."""
        is_equal = self._dtypes[0] == self._dtypes[1] and before == after
        one, other = (numbers(dtype, data) for dtype, data in zip(self._dtypes, (before, after), strict=True))
        for begin, end in spans(len(one), _BLOCK):
            self._norm += _sum_of_squares(one[begin:end])
            if not is_equal:
                self._add_distances(one[begin:end], other[begin:end])

    def _add_distances(self, one: Array, other: Array) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(one - other)
        largest = float(distance.max())
        if not math.isfinite(largest):
            distance = np.where(_same(one, other), 0, np.nan_to_num(distance, nan=np.inf, posinf=np.inf))
            largest = float(distance.max())
        self._largest = max(self._largest, largest)
        self._moved += _sum_of_squares(distance)

    @property
    def largest(self) -> float:
        """The largest |w - w'|; infinite where a number became NaN or infinite, or stopped being it."""
        return self._largest

    @property
    def relative(self) -> float:
        """||W - W'|| / ||W||; 0.0 without a change, infinite for what was all zero."""
        if self._moved == 0:
            return 0.0
        if math.isinf(self._moved):
            return math.inf
        return math.sqrt(self._moved / self._norm) if self._norm else math.inf


def _same(one: Array, other: Array) -> Array:
    same: Array = (one == other) | (np.isnan(one) & np.isnan(other))
    return same


def _sum_of_squares(values: Array) -> float:
    """Return the sum of the squares of the entries that are numbers, in fp64.

    Without BLAS: its threads wait for each other longer than these few entries take.
    """
    wide = (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64)
    total = float(np.einsum("i,i->", wide, wide))
    if math.isnan(total):
        wide = wide[~np.isnan(wide)]
        total = float(np.einsum("i,i->", wide, wide))
    return total
