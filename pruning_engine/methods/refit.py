"""Refit: the remaining weights of a pruned layer are set to what changes its outputs least.

Source: for a given mask this is least squares in each row, w'_S = (H_SS + λI)⁻¹ (H w)_S. Meng et al., "ALPS", 2024,
arXiv:2406.07831, section 3.3, solve all rows at once by preconditioned conjugate gradients that stay within the mask.
"""

from typing import Final

from pruning_engine.methods.arrays import Array, arrays_of, block_entries, row_blocks
from pruning_engine.methods.conjugates import Buffers, Equations, conjugates, solve
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.preconditioner import Preconditioner
from pruning_engine.methods.updated import Updated

CONVERGED: Final = 1e-8
"""A row is done when its loss can fall by no more than about this part of Σ w² diag H."""


def refit(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array,
    keep: Array,
    gram: Gram,
    *,
    steps: int = 20,
    damping: float = 0.001,
    start: Array | None = None,
    in_place: bool = False,
) -> Updated:
    """Return the weights within the mask whose outputs are nearest to those of `weight`, by conjugate gradients.

    `steps`: at most; rows stop where they have converged. Ten are nearly always enough.
    `start`: where to begin, such as what SparseGPT left; weight · keep by default. No row ends worse than it began.
    `in_place`: the result is written over `start`, which saves a matrix.
    Cost: steps + 1 products (R, C) · (C, C), and about one more for the preconditioner.
    """
    ops, begin = arrays_of(weight), weight if start is None else start
    matrix, penalty = gram.matrix_like(weight), damping * gram.scale
    preconditioner, diagonal = Preconditioner.of_gram(gram, weight, penalty), ops.cast(gram.diagonal, weight)
    entries = block_entries(weight.shape[1])
    result = begin if in_place and start is not None else ops.zeros(weight.shape, weight)
    buffers = Buffers.for_rows(weight, entries)
    for rows in row_blocks(weight.shape[0], weight.shape[1], entries):
        mask, solution, part = keep[rows], result[rows], buffers.first(rows.stop - rows.start)
        first = ops.where(mask, begin[rows], 0.0)
        solution[:] = first
        difference, residual = part.direction, part.residual
        difference[:] = weight[rows]
        difference -= solution
        ops.product(difference, matrix, residual)
        residual *= mask
        residual -= penalty * solution
        equations = Equations(matrix, penalty, preconditioner.within(mask, part.image))
        state = conjugates(equations, mask, solution, part)
        state.enough[:] = CONVERGED * _energies(weight[rows], diagonal)
        solve(equations, state, steps)
        worse = ~(state.change < 0)
        solution[worse] = first[worse]
    return Updated(result, damping)


def _energies(weight: Array, diagonal: Array) -> Array:
    """Return Σ w² diag H of each row."""
    ops = arrays_of(weight)
    return ops.dot_rows(weight * diagonal, weight)


def refit_channels(weight: Array, kept_channels: Array, gram: Gram, *, damping: float = 0.01) -> Updated:
    """Return the weights (R, C) of a layer of which only the inputs `kept_channels` (C,) remain, 0 elsewhere.

    All rows share the inputs S, and the others P: W'_S = W_S + W_P H_PS (H_SS + λI)⁻¹. If H_SS is not positive definite
    with this damping, damping grows tenfold until it is.

    Cost: one factorisation of the kept inputs' H, which is not shared.
    """
    ops = arrays_of(weight)
    matrix = gram.matrix_like(weight)
    to_kept, pruned = ops.columns(matrix, kept_channels), ~kept_channels
    kept = Gram.of_matrix(ops.copy(to_kept[kept_channels]))
    result, remaining = ops.zeros(weight.shape, weight), ops.columns(weight, kept_channels)
    if kept.scale == 0:  # nothing is known about them
        result[:, kept_channels] = remaining
        return Updated(result, damping)
    asked = damping * gram.scale / kept.scale
    factor = kept.inverse_cholesky(asked, dead_as_one=False)
    images = ops.matmul(ops.columns(weight, pruned), to_kept[pruned])
    remaining += ops.matmul(ops.matmul(images, ops.transpose(factor.upper)), factor.upper)
    result[:, kept_channels] = remaining
    return Updated(result, damping * (factor.damping / asked))
