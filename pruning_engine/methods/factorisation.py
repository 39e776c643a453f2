"""The Cholesky factor of an inverse, in place and in blocks, by products of matrices: numpy has no triangular solver.

With H = V Vᵀ and V upper triangular, H⁻¹ = Uᵀ U for U = V⁻¹, which is upper triangular as well: one factorisation and
one inverse of a triangle, a third of the work by way of H⁻¹, and no memory but the result's.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.methods.matmul import matmul

Floats = npt.NDArray[Any]

BLOCK: Final = 128
"""Columns of a block. Those on the diagonal are factorised in fp64."""

SMALLEST: Final = 32
"""Columns of a triangle that is inverted as a whole."""

STRIP: Final = 512
"""Rows of a product with a triangle, of which what is left of the diagonal is left out."""


def upper_factor(matrix: Floats, damping: float) -> Floats:
    """Return U, upper triangular, with UᵀU = (matrix + damping · I)⁻¹; of `matrix` the upper triangle is read.

    Raises: LinAlgError if the matrix is not positive definite.
    """
    size = len(matrix)
    work = np.empty((size, size), matrix.dtype)
    blocks = [slice(begin, min(size, begin + BLOCK)) for begin in range(0, size, BLOCK)]
    for block in blocks:
        work[: block.stop, block] = matrix[: block.stop, block]
        work[block.stop :, block] = 0
    np.einsum("ii->i", work)[:] += damping
    inverses = [_factorise(work, block) for block in reversed(blocks)]
    for block, inverse in zip(blocks, reversed(inverses), strict=True):
        _invert(work, block, inverse)
    return work


def inverse(matrix: Floats, damping: float) -> Floats:
    """Return (matrix + damping · I)⁻¹ = UᵀU, which takes U's place; of `matrix` the upper triangle is read.

    Raises: LinAlgError if the matrix is not positive definite.
    """
    work = upper_factor(matrix, damping)
    size = len(work)
    for begin in reversed(range(0, size, STRIP)):
        strip = slice(begin, min(size, begin + STRIP))
        # U is 0 below its diagonal, and the columns of U to the right of the strip are needed no more
        work[: strip.stop, strip] = matmul(work[: strip.stop, : strip.stop].T, work[: strip.stop, strip])
        work[strip, :begin] = work[:begin, strip].T
    return work


def _factorise(work: Floats, block: slice) -> Floats:
    """Turn columns of H into those of V, where those to the right are V's already; return the inverse of V's block."""
    if block.stop < len(work):
        work[: block.stop, block] -= matmul(work[: block.stop, block.stop :], work[block, block.stop :].T)
    square = work[block, block].astype(np.float64)
    square = np.triu(square) + np.triu(square, 1).T
    factor = np.linalg.cholesky(square[::-1, ::-1])[::-1, ::-1]
    inverse = _inverse_of_triangle(factor)
    if not np.isfinite(inverse).all():
        raise np.linalg.LinAlgError("a block is not positive definite")
    work[block, block] = factor
    inverse = inverse.astype(work.dtype)
    work[: block.start, block] = matmul(work[: block.start, block], inverse.T)
    return inverse


def _inverse_of_triangle(upper: Floats) -> Floats:
    """Return the inverse of a small upper triangle by halves: numpy's is that of any matrix, eight times the work."""
    size = len(upper)
    if size <= SMALLEST:
        inverse: Floats = np.triu(np.linalg.inv(upper))
        return inverse
    first, second = slice(0, size // 2), slice(size // 2, size)
    result = np.zeros_like(upper)
    result[first, first], result[second, second] = (_inverse_of_triangle(upper[part, part]) for part in (first, second))
    result[first, second] = -result[first, first] @ upper[first, second] @ result[second, second]
    return result


def _invert(work: Floats, block: slice, inverse: Floats) -> None:
    """Turn columns of V into those of U, where those to the left are U's already."""
    work[block, block] = inverse
    for begin in range(0, block.start, STRIP):
        end = min(block.start, begin + STRIP)
        product = matmul(work[begin:end, begin : block.start], work[begin : block.start, block])
        work[begin:end, block] = product @ -inverse
