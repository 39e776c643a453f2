"""The operations that numpy and torch spell differently, so that one page per paper serves both.

What both spell alike (arithmetic, `@`, slices, `sum`, `sqrt`) is written plainly in the methods.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.compiled.statistics_kernels import Columns, calibrated_kernels
from pruning_engine.methods.factorisation import inverse, upper_factor
from pruning_engine.methods.least import prune_least, prune_least_in_rows
from pruning_engine.methods.matmul import matmul
from pruning_engine.runtime.threads import in_parallel

Array: TypeAlias = Any
"""A numpy array, or a tensor of torch where torch is in use. The arrays of one call are all of one kind."""

BLOCK_ENTRIES: Final = 1 << 21
"""Entries of a block of rows: long enough for BLAS, short enough that several blocks are small beside H."""


SHORTEST_BLOCK: Final = 1 << 18
LONGEST_BLOCK: Final = 1 << 22
"""Limits of `block_entries`."""


class Arrays(Protocol):
    """The operations, for one kind of array."""

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return zeros of the dtype and device of `like`."""

    def copy(self, array: Array) -> Array:
        """Return a contiguous copy."""

    def columns(self, array: Array, chosen: Array) -> Array:
        """Return a contiguous copy of the columns that are True in `chosen`."""

    def cast(self, array: Array, like: Array) -> Array:
        """Return the array in the dtype of `like`; itself if it has it."""

    def where(self, condition: Array, true: Array, false: Array | float) -> Array:
        """Return `true` where the condition holds, else `false`."""

    def dot_rows(self, one: Array, other: Array) -> Array:
        """Return the products of equal rows, (R,), summed in fp64."""

    def matmul(self, one: Array, other: Array) -> Array:
        """Return one @ other, of large matrices on all threads."""

    def product(self, one: Array, other: Array, out: Array) -> None:
        """Write one @ other to `out`."""

    def in_dtype(self, array: Array, dtype: npt.DTypeLike) -> Array:
        """Return the array in a dtype by numpy's name for it; itself if it has it."""

    def host(self, array: Array) -> npt.NDArray[Any]:
        """Return an array of numpy's."""

    def transpose(self, array: Array) -> Array:
        """Return a view with the last two dims exchanged."""

    def like(self, array: npt.NDArray[Any], other: Array) -> Array:
        """Return an array of numpy's in the kind, dtype and device of another."""

    def orthonormal(self, columns: Array) -> Array:
        """Return an orthonormal basis of the space of some columns."""

    def eigen(self, matrix: Array) -> tuple[Array, Array]:
        """Return the eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns."""

    def invert(self, matrices: Array) -> None:
        """Replace matrices (N, K, K) by their inverses."""

    def prune_least(self, scores: Array, candidates: Array, count: int) -> Array:
        """Return `candidates` without the `count` of least score; of equal ones the first in flat order are pruned."""

    def prune_least_in_rows(self, scores: Array, candidates: Array, counts: Array) -> Array:
        """Return `candidates` without the `counts[row]` of least score of each row, ties as in prune_least."""

    def upper_factor(self, matrix: Array, damping: float) -> Array | None:
        """Return U, upper triangular, with UᵀU = (matrix + damping I)⁻¹; None if that is not positive definite."""

    def inverse(self, matrix: Array, damping: float) -> Array | None:
        """Return (matrix + damping I)⁻¹; None if that is not positive definite."""

    def eliminate(self, columns: Columns) -> None:
        """Prune columns from left to right, each error made up for by the columns to its right. In place."""

    def eliminate_groups(self, n_of_m: tuple[int, int], columns: Columns) -> bool:
        """Do the same and choose the mask on the way, as `choices.NOfM` does. Return False if that is not possible."""


def row_blocks(rows: int, columns: int, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Return slices of about `entries` entries that are all rows of a matrix."""
    step = max(1, entries // max(1, columns))
    return (slice(begin, min(rows, begin + step)) for begin in range(0, rows, step))


def block_entries(columns: int) -> int:
    """Return the entries of rows that are solved at a time, an eighth of H: the more, the faster the products."""
    return min(LONGEST_BLOCK, max(SHORTEST_BLOCK, columns * columns // 8))


def arrays_of(array: Array) -> Arrays:
    """Return the operations for the kind of an array."""
    if isinstance(array, np.ndarray):
        return NUMPY_ARRAYS
    from pruning_engine.kernels.cuda.arrays import TorchArrays  # noqa: PLC0415 - imports torch

    return TorchArrays()


class NumpyArrays:
    """The operations on numpy arrays."""

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        """Return zeros of the dtype of `like`."""
        return np.zeros(shape, like.dtype)

    def copy(self, array: Array) -> Array:
        """Return a contiguous copy."""
        return np.array(array, order="C")

    def columns(self, array: Array, chosen: Array) -> Array:
        """Return a contiguous copy of the columns that are True in `chosen`."""
        return array.take(np.flatnonzero(chosen), axis=1)  # several times as fast as an index of bools

    def cast(self, array: Array, like: Array) -> Array:
        """Return the array in the dtype of `like`; itself if it has it."""
        return array.astype(like.dtype, copy=False)

    def where(self, condition: Array, true: Array, false: Array | float) -> Array:
        """Return `true` where the condition holds, else `false`."""
        return np.where(condition, true, np.asarray(false, true.dtype))

    def dot_rows(self, one: Array, other: Array) -> Array:
        """Return the products of equal rows, (R,), summed in fp64."""
        return np.multiply(one, other).sum(axis=1, dtype=np.float64)

    def matmul(self, one: Array, other: Array) -> Array:
        """Return one @ other, of large matrices on all threads."""
        return matmul(one, other)

    def product(self, one: Array, other: Array, out: Array) -> None:
        """Write one @ other to `out`."""
        matmul(one, other, out)

    def in_dtype(self, array: Array, dtype: npt.DTypeLike) -> Array:
        """Return the array in a dtype; itself if it has it."""
        return array.astype(dtype, copy=False)

    def host(self, array: Array) -> npt.NDArray[Any]:
        """Return the array."""
        result: npt.NDArray[Any] = array
        return result

    def transpose(self, array: Array) -> Array:
        """Return a view with the last two dims exchanged."""
        return array.swapaxes(-1, -2)

    def like(self, array: npt.NDArray[Any], other: Array) -> Array:
        """Return an array in the dtype of another."""
        return array.astype(other.dtype)

    def orthonormal(self, columns: Array) -> Array:
        """Return an orthonormal basis of the space of some columns."""
        return np.linalg.qr(columns)[0]

    def eigen(self, matrix: Array) -> tuple[Array, Array]:
        """Return the eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns."""
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors

    def invert(self, matrices: Array) -> None:
        """Replace matrices (N, K, K) by their inverses."""

        def work(begin: int) -> None:
            matrices[begin : begin + 64] = np.linalg.inv(matrices[begin : begin + 64])

        in_parallel(work, range(0, len(matrices), 64))

    def prune_least(self, scores: Array, candidates: Array, count: int) -> Array:
        """Return `candidates` without the `count` of least score; of equal ones the first in flat order are pruned."""
        return prune_least(scores, candidates, count)

    def prune_least_in_rows(self, scores: Array, candidates: Array, counts: Array) -> Array:
        """Return `candidates` without the `counts[row]` of least score of each row, ties as in prune_least."""
        return prune_least_in_rows(scores, candidates, counts)

    def upper_factor(self, matrix: Array, damping: float) -> Array | None:
        """Return U, upper triangular, with UᵀU = (matrix + damping I)⁻¹; None if that is not positive definite."""
        try:
            return upper_factor(matrix, damping)
        except np.linalg.LinAlgError:
            return None

    def inverse(self, matrix: Array, damping: float) -> Array | None:
        """Return (matrix + damping I)⁻¹; None if that is not positive definite."""
        try:
            return inverse(matrix, damping)
        except np.linalg.LinAlgError:
            return None

    def eliminate(self, columns: Columns) -> None:
        """Prune columns from left to right, each error made up for by the columns to its right. In place."""
        kernels = calibrated_kernels(columns.weight)
        if kernels is not None:
            kernels.eliminate(columns)
            return
        weight, upper = columns.weight, columns.upper
        for at in range(weight.shape[1]):
            columns.errors[:, at] = np.where(columns.keep[:, at], 0, weight[:, at] / upper[at, at])
            weight[:, at:] -= columns.errors[:, at, None] * upper[at, at:]
        weight[~columns.keep] = 0

    def eliminate_groups(self, n_of_m: tuple[int, int], columns: Columns) -> bool:
        """Do the same and choose the mask on the way, as `choices.NOfM` does. Return False if that is not possible."""
        kernels = calibrated_kernels(columns.weight)
        if kernels is not None:
            kernels.eliminate_groups(n_of_m, columns)
        return kernels is not None


NUMPY_ARRAYS: Final = NumpyArrays()
