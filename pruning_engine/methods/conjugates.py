"""Conjugate gradients of many rows at once, each within its mask, with a preconditioner.

Source: Hestenes, Stiefel 1952. Sums over a row are in fp64.
"""

from dataclasses import dataclass

import numpy as np

from pruning_engine.kernels.compiled.statistics_kernels import Conjugates, calibrated_kernels
from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.methods.preconditioner import RowPreconditioner


@dataclass(frozen=True, slots=True)
class Equations:
    """What is solved: x (H + λI) = b of each row, within its mask."""

    matrix: Array
    penalty: float
    preconditioner: RowPreconditioner


@dataclass(frozen=True, slots=True)
class Buffers:
    """Memory (R, C) for what changes from step to step; used for one block of rows after another."""

    direction: Array
    residual: Array
    image: Array

    @staticmethod
    def for_rows(weight: Array, entries: int) -> "Buffers":
        """Return buffers for the largest of the blocks that `row_blocks` makes."""
        most = max(
            (rows.stop - rows.start for rows in row_blocks(weight.shape[0], weight.shape[1], entries)), default=0
        )
        return Buffers(*(arrays_of(weight).zeros((most, weight.shape[1]), weight) for _ in range(3)))

    def first(self, rows: int) -> "Buffers":
        """Return the first rows of each."""
        return Buffers(self.direction[:rows], self.residual[:rows], self.image[:rows])


def conjugates(equations: Equations, keep: Array, solution: Array, buffers: Buffers) -> Conjugates:
    """Return the state before the first step, from `buffers.residual`. The steps change `solution` and the buffers."""
    ops, residual = arrays_of(solution), buffers.residual
    nothing = ops.in_dtype(ops.zeros(residual.shape[:1], residual), np.float64)
    state = Conjugates(
        keep=keep,
        inverse_diagonal=equations.preconditioner.shared.inverse_diagonal,
        image=buffers.image,
        direction=buffers.direction,
        residual=residual,
        solution=solution,
        products=nothing + 1,
        enough=ops.copy(nothing),
        change=ops.copy(nothing),
    )
    state.direction[:] = 0
    equations.preconditioner.write_correction(residual, state.image)
    _turn(state)
    return state


def solve(equations: Equations, state: Conjugates, steps: int) -> None:
    """Take up to `steps` steps, in place, until `state.products` are no larger than `state.enough` in each row.

    `state.change` adds up how much the loss without damping, (w - w') H (w - w')ᵀ of a row, changes.
    """
    ops = arrays_of(state.image)
    for left in reversed(range(steps)):
        ops.product(state.direction, equations.matrix, state.image)
        if not _advance(state, equations.penalty):
            return
        if left:
            equations.preconditioner.write_correction(state.residual, state.image)
            _turn(state)


def _advance(state: Conjugates, penalty: float) -> bool:
    """Move each row that is not done along its direction; return whether one moved. `image`: direction · H."""
    kernels = calibrated_kernels(state.image) if isinstance(state.image, np.ndarray) else None
    if kernels is not None:
        return kernels.conjugate_advance(penalty, state) > 0
    ops, direction = arrays_of(state.image), state.direction
    image = ops.where(state.keep, state.image, 0.0) + penalty * direction
    curvature = ops.dot_rows(direction, image)
    active = (state.products > state.enough) & (curvature > 0)
    state.enough[:] = ops.where(active, state.enough, state.products)
    lengths = ops.where(active, state.products / ops.where(active, curvature, 1.0), 0.0)
    state.change[:] += lengths * lengths * (curvature - penalty * ops.dot_rows(direction, direction))
    slopes = ops.dot_rows(direction, state.residual) + penalty * ops.dot_rows(direction, state.solution)
    state.change[:] -= 2 * lengths * slopes
    factor = ops.cast(lengths, image)[:, None]
    state.solution[:] += factor * direction
    state.residual[:] -= factor * image
    return bool(active.any())


def _turn(state: Conjugates) -> None:
    """Turn each row that is not done to its next direction. `image`: what is taken from the residual before."""
    kernels = calibrated_kernels(state.image) if isinstance(state.image, np.ndarray) else None
    if kernels is not None:
        kernels.conjugate_turn(state)
        return
    ops = arrays_of(state.image)
    active = state.products > state.enough
    scaled = ops.where(state.keep, (state.residual - state.image) * state.inverse_diagonal, 0.0)
    products = ops.dot_rows(state.residual, scaled)
    ratio = ops.where(active, products / ops.where(active, state.products, 1.0), 0.0)
    state.direction[:] = scaled + ops.cast(ratio, scaled)[:, None] * state.direction
    state.products[:] = ops.where(active, products, state.products)
