"""The Gram matrix of a layer's inputs, H = XᵀX, and its factorisations, each computed once and shared."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.runtime.yield_points import with_yields

Floats = npt.NDArray[Any]

TOLERANCE: Final = 1e-3
"""How far sums in fp32 may be from symmetric, and from |H_ij| ≤ sqrt(H_ii H_jj), relative to sqrt(H_ii H_jj)."""

_LARGEST: Final = 1 + TOLERANCE

TILE: Final = 256
"""Rows and columns that are checked at a time: a few tiles fit into a core's cache."""

FAULTY_ENTRIES: Final = 1 << 18
"""Entries that are looked at together to say which one is at fault."""

LARGEST_DAMPING: Final = 1e3
"""Damping grows tenfold up to here, where the damped matrix is its diagonal for all purposes."""

SMALLEST_DAMPING: Final = 1e-6
"""What damping grows from when none was asked for."""


@dataclass(frozen=True, slots=True)
class Factor:
    """The factor that SparseGPT uses.

    Attributes:
        upper: U (C, C), upper triangular, with UᵀU = (H + damping · mean(diag H) · I)⁻¹.
        damping: what was used: at least what was asked for.
    """

    upper: Array
    damping: float


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """H = XᵀX, for all matrices that share the inputs X.

    Attributes:
        matrix: (C, C), fp32 or fp64.
        diagonal: (C,).
        dead: (C,), bool: inputs that were always 0.
    """

    matrix: Array
    diagonal: Array
    dead: Array
    directions: list[Array] = field(default_factory=list, repr=False)
    """Room for what `preconditioner.largest_directions` computes."""
    _factors: dict[tuple[float, bool], Factor] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @staticmethod
    def of_matrix(matrix: Array) -> "Gram":
        """Return the Gram of H itself, which is not copied. Check it by `faults` before."""
        diagonal = arrays_of(matrix).copy(matrix.diagonal())
        return Gram(matrix, diagonal, diagonal == 0)

    @staticmethod
    def of_inputs(inputs: Array, dtype: npt.DTypeLike = np.float32) -> "Gram":
        """Return XᵀX of rows of inputs (tokens, C) of any float dtype, summed in `dtype`: fp32 or fp64."""
        ops, columns = arrays_of(inputs), inputs.shape[1]
        matrix = ops.zeros((columns, columns), ops.in_dtype(inputs[:0], dtype))
        for rows in row_blocks(*inputs.shape):
            block = ops.in_dtype(inputs[rows], dtype)
            matrix += ops.matmul(ops.transpose(block), block)
        return Gram.of_matrix(matrix)

    @property
    def scale(self) -> float:
        """The mean of the diagonal: what damping is relative to."""
        return float(self.diagonal.sum() / len(self.diagonal)) if len(self.diagonal) else 0.0

    def in_order(self, order: Array) -> "Gram":
        """Return the Gram of the inputs in another order: a copy."""
        return Gram.of_matrix(self.matrix[order[:, None], order])

    def matrix_like(self, weight: Array) -> Array:
        """Return H in the dtype of a weight."""
        return arrays_of(weight).cast(self.matrix, weight)

    def inverse_cholesky(self, damping: float = 0.01, *, dead_as_one: bool = True) -> Factor:
        """Return the upper Cholesky factor of the inverse of the damped H, where dead inputs count as H_jj = 1.

        If the damped H is not positive definite, damping grows tenfold until it is. The factor is computed once.

        Raises: ValueError if H is not finite.
        Cost: 2/3 C³ operations, and C² entries that stay in memory with this object.
        Source: Frantar, Alistarh 2023, arXiv:2301.00774, algorithm 1.
        """
        with self._lock:
            key = damping, dead_as_one
            if key not in self._factors:
                self._factors[key] = self._factorised(damping, dead_as_one=dead_as_one)
            return self._factors[key]

    def forget_factors(self) -> None:
        """Free the factors."""
        with self._lock:
            self._factors.clear()

    def _factorised(self, damping: float, *, dead_as_one: bool) -> Factor:
        scale = self.scale
        if not np.isfinite(scale):
            raise ValueError("the Gram matrix is not finite")
        matrix = self.matrix
        if dead_as_one and bool(self.dead.any()):
            matrix = arrays_of(matrix).copy(matrix)
            matrix[self.dead, self.dead] = 1
        while True:
            upper = arrays_of(matrix).upper_factor(matrix, damping * scale)
            if upper is not None:
                return Factor(upper, damping)
            damping = max(10 * damping, SMALLEST_DAMPING)
            if damping > LARGEST_DAMPING:
                raise ValueError("the Gram matrix is not positive semi-definite")


def faults(matrix: Floats, name: str, columns: int | None = None) -> str | None:
    """Return what is wrong with a Gram matrix, in one sentence that begins with `name`; None if nothing is.

    `columns`: the C that is expected, if it is known.
    """
    expected = f"[{columns}, {columns}]" if columns is not None else "a square matrix"
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or columns not in (None, matrix.shape[0]):
        return f"{name} has shape {list(matrix.shape)}, expected {expected}"
    if matrix.dtype not in (np.float32, np.float64):
        return f"{name} has dtype {matrix.dtype}, expected float32 or float64"
    diagonal = matrix.diagonal().astype(np.float64)
    if not all(np.isfinite(matrix[rows]).all() for rows in with_yields(row_blocks(*matrix.shape))):
        return f"{name} has entries that are not finite"
    if (diagonal < 0).any():
        return f"{name} has a negative diagonal entry, {diagonal.min():g} at {int(diagonal.argmin())}"
    return _faults_of_pairs(matrix, np.sqrt(diagonal), name)


def _faults_of_pairs(matrix: Floats, roots: npt.NDArray[np.float64], name: str) -> str | None:
    if _pairs_are_plausible(matrix, roots):
        return None
    for rows in with_yields(row_blocks(len(matrix), len(matrix), FAULTY_ENTRIES)):
        block, limit = matrix[rows], np.outer(roots[rows], roots)
        for wrong, what in (
            (np.abs(block - matrix[:, rows].T) > TOLERANCE * limit, "is not symmetric"),
            (np.abs(block) > (1 + TOLERANCE) * limit, "is not XᵀX: an entry is larger than its diagonal allows"),
        ):
            if wrong.any():
                row, column = (int(place[0]) for place in np.nonzero(wrong))
                row += rows.start
                return f"{name} {what}: [{row}, {column}] is {matrix[row, column]:g}, [{column}, {row}] is " + (
                    f"{matrix[column, row]:g}, and the diagonal {roots[row] ** 2:g} and {roots[column] ** 2:g}"
                )
    return None


def _pairs_are_plausible(matrix: Floats, roots: npt.NDArray[np.float64]) -> bool:
    """Whether no pair of entries is at fault, tile by tile above the diagonal, in the matrix's own dtype."""
    own = roots.astype(matrix.dtype)
    with np.errstate(all="ignore"):
        for begin in with_yields(range(0, len(matrix), TILE), 1):
            rows = slice(begin, begin + TILE)
            for start in range(begin, len(matrix), TILE):
                columns = slice(start, start + TILE)
                limit, upper = np.multiply.outer(own[rows], own[columns]), matrix[rows, columns]
                difference = upper - matrix[columns, rows].T
                if (np.abs(difference) > TOLERANCE * limit).any() or (np.abs(upper) > limit * _LARGEST).any():
                    return False
    return True
