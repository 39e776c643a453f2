"""Refit: the remaining weights of a pruned layer are set to what changes its outputs least.

Source: for a given mask this is least squares in each row, w'_S = (H_SS + λI)⁻¹ (H w)_S. Meng et al., "ALPS", 2024,
arXiv:2406.07831, section 3.3, solve all rows at once by preconditioned conjugate gradients that stay within the mask.
"""

from dataclasses import dataclass

from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.updated import Updated


@dataclass(frozen=True, slots=True)
class _Problem:
    """Some rows, and what to solve for: the least loss within the mask, from a start."""

    target: Array
    keep: Array
    start: Array
    matrix: Array
    damping: Array
    """λ."""
    inverse_diagonal: Array
    """The preconditioner, (C,): 1 / (diag H + λ)."""


def refit(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array, keep: Array, gram: Gram, *, steps: int = 20, damping: float = 0.001, start: Array | None = None
) -> Updated:
    """Return the weights within the mask whose outputs are nearest to those of `weight`, by conjugate gradients.

    `steps`: at most; rows stop where they have converged.
    `start`: where to begin, such as what SparseGPT left; weight · keep by default. No row ends worse than it began.
    Cost: steps + 1 products (R, C) · (C, C), and about six blocks of rows of memory.
    """
    ops = arrays_of(weight)
    matrix, scale = gram.matrix_like(weight), gram.scale
    penalty = damping * scale
    diagonal = ops.cast(gram.diagonal, weight) + penalty
    inverse = ops.where(diagonal > 0, 1 / ops.where(diagonal > 0, diagonal, 1.0), 0.0)
    result = ops.zeros(weight.shape, weight)
    for rows in row_blocks(*weight.shape):
        begin = ops.where(keep[rows], weight[rows] if start is None else start[rows], 0.0)
        result[rows] = _solve(_Problem(weight[rows], keep[rows], begin, matrix, penalty, inverse), steps)
    return Updated(result, damping)


def _solve(problem: _Problem, steps: int) -> Array:
    ops, keep, matrix = arrays_of(problem.target), problem.keep, problem.matrix
    solution = ops.copy(problem.start)
    residual = ops.where(keep, (problem.target - solution) @ matrix, 0.0) - problem.damping * solution
    first_residual = ops.copy(residual)
    direction = residual * problem.inverse_diagonal
    products = ops.dot_rows(residual, direction)
    enough = 1e-12 * products
    for _ in range(steps):
        image = ops.where(keep, direction @ matrix, 0.0) + problem.damping * direction
        curvature = ops.dot_rows(direction, image)
        active = (products > enough) & (curvature > 0)
        if not bool(active.any()):
            break
        step = ops.cast(ops.where(active, products / ops.where(active, curvature, 1.0), 0.0), solution)[:, None]
        solution += step * direction
        residual -= step * image
        scaled = residual * problem.inverse_diagonal
        products_now = ops.dot_rows(residual, scaled)
        ratio = ops.where(active, products_now / ops.where(active, products, 1.0), 0.0)
        direction = scaled + ops.cast(ratio, solution)[:, None] * direction
        products = products_now
    return ops.where((_change(problem, solution, first_residual, residual) < 0)[:, None], solution, problem.start)


def _change(problem: _Problem, solution: Array, first_residual: Array, residual: Array) -> Array:
    """Return how much each row's loss without damping changed, (R,), from the residuals: no product with H."""
    moved = solution - problem.start
    gradient = first_residual + residual + problem.damping * (problem.start + solution)
    return -arrays_of(moved).dot_rows(moved, gradient)


def refit_channels(weight: Array, kept_channels: Array, gram: Gram, *, damping: float = 0.01) -> Updated:
    """Return the weights (R, C) of a layer of which only the inputs `kept_channels` (C,) remain, 0 elsewhere.

    All rows share the inputs S: W'_S = (W H_:S + λ W_S)(H_SS + λI)⁻¹. If H_SS is not positive definite with this
    damping, damping grows tenfold until it is.

    Cost: one factorisation of the kept inputs' H, which is not shared.
    """
    ops = arrays_of(weight)
    matrix = gram.matrix_like(weight)
    kept = Gram.of_matrix(ops.copy(matrix[kept_channels][:, kept_channels]))
    result = ops.zeros(weight.shape, weight)
    if kept.scale == 0:  # nothing is known about them
        result[:, kept_channels] = weight[:, kept_channels]
        return Updated(result, damping)
    relative = gram.scale / kept.scale
    factor = kept.inverse_cholesky(damping * relative, dead_as_one=False)
    used = factor.damping / relative
    images = weight @ matrix[:, kept_channels] + used * gram.scale * weight[:, kept_channels]
    result[:, kept_channels] = (images @ factor.upper.T) @ factor.upper
    return Updated(result, used)
