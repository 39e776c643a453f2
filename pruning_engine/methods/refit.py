"""Refit: the remaining weights of a pruned layer are set to what changes its outputs least.

Source: for a given mask this is least squares in each row, w'_S = (H_SS + λI)⁻¹ (H w)_S. Meng et al., "ALPS", 2024,
arXiv:2406.07831, section 3.3, solve all rows at once by preconditioned conjugate gradients that stay within the mask.
"""

from dataclasses import dataclass
from typing import Final

from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.methods.conjugates import conjugates, step
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.updated import Updated

CONVERGED: Final = 1e-10
"""A row is done when its preconditioned residual is this part of what it was for weights of 0, both squared."""

BLOCK_ENTRIES: Final = 1 << 22
"""Entries of the rows that are solved at a time: the longer, the faster the products; four such blocks are held."""


@dataclass(frozen=True, slots=True)
class _System:
    """What all rows share: H, λ, and the preconditioner 1 / (diag H + λ), (C,)."""

    matrix: Array
    penalty: float
    inverse_diagonal: Array


def refit(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array, keep: Array, gram: Gram, *, steps: int = 20, damping: float = 0.001, start: Array | None = None
) -> Updated:
    """Return the weights within the mask whose outputs are nearest to those of `weight`, by conjugate gradients.

    `steps`: at most; rows stop where they have converged.
    `start`: where to begin, such as what SparseGPT left; weight · keep by default. No row ends worse than it began.
    Cost: steps + 1 products (R, C) · (C, C), and four blocks of rows of memory.
    """
    ops = arrays_of(weight)
    penalty = damping * gram.scale
    diagonal = ops.cast(gram.diagonal, weight) + penalty
    inverse = ops.where(diagonal > 0, 1 / ops.where(diagonal > 0, diagonal, 1.0), 0.0)
    system = _System(gram.matrix_like(weight), penalty, inverse)
    result = ops.zeros(weight.shape, weight)
    for rows in row_blocks(weight.shape[0], weight.shape[1], BLOCK_ENTRIES):
        begin = ops.where(keep[rows], weight[rows] if start is None else start[rows], 0.0)
        result[rows] = begin
        worse = _solve(system, weight[rows], keep[rows], result[rows], steps)
        result[rows] = ops.where(worse[:, None], begin, result[rows])
    return Updated(result, damping)


def _solve(system: _System, target: Array, keep: Array, solution: Array, steps: int) -> Array:
    """Improve a solution in place; return which rows are worse than before, or no better (R,)."""
    ops = arrays_of(target)
    residual = ops.where(keep, (target - solution) @ system.matrix, 0.0) - system.penalty * solution
    state = conjugates(keep, system.inverse_diagonal, residual, solution)
    scale = ops.dot_rows(target * target, ops.where(system.inverse_diagonal > 0, 1 / system.inverse_diagonal, 0.0))
    state.enough[:] = CONVERGED * scale
    for _ in range(steps):
        ops.product(state.direction, system.matrix, state.image)
        if not step(state, system.penalty):
            break
    return state.change >= 0


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
