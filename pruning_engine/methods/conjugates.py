"""Conjugate gradients of many rows at once, each within its mask, with a diagonal preconditioner.

Source: Hestenes, Stiefel 1952; the preconditioner is Jacobi's. Sums over a row are in fp64.
"""

import numpy as np

from pruning_engine.kernels.compiled.statistics_kernels import Conjugates, calibrated_kernels
from pruning_engine.methods.arrays import Array, arrays_of


def conjugates(keep: Array, inverse_diagonal: Array, residual: Array, solution: Array) -> Conjugates:
    """Return the state before the first step. `residual` and `solution` (R, C) are changed by the steps."""
    ops = arrays_of(residual)
    direction = residual * inverse_diagonal
    products = ops.dot_rows(residual, direction)
    return Conjugates(
        keep=keep,
        inverse_diagonal=inverse_diagonal,
        image=ops.zeros(residual.shape, residual),
        direction=direction,
        residual=residual,
        solution=solution,
        products=products,
        enough=0 * products,
        change=0 * products,
    )


def step(state: Conjugates, penalty: float) -> bool:
    """Take a step in each row that is not done, in place; return whether there was one.

    `state.image` holds direction · H before and is scratch memory. `state.change` adds up how much the loss without
    damping, tr((w - w') H (w - w')ᵀ) of a row, changes: no product with H is needed for it.
    """
    kernels = calibrated_kernels(state.image) if isinstance(state.image, np.ndarray) else None
    if kernels is not None:
        return kernels.conjugate_step(penalty, state) > 0
    ops = arrays_of(state.image)
    image = ops.where(state.keep, state.image, 0.0) + penalty * state.direction
    curvature = ops.dot_rows(state.direction, image)
    active = (state.products > state.enough) & (curvature > 0)
    lengths = ops.where(active, state.products / ops.where(active, curvature, 1.0), 0.0)
    state.change[:] += lengths * lengths * (curvature - penalty * ops.dot_rows(state.direction, state.direction))
    slopes = ops.dot_rows(state.direction, state.residual) + penalty * ops.dot_rows(state.direction, state.solution)
    state.change[:] -= 2 * lengths * slopes
    factor = ops.cast(lengths, image)[:, None]
    state.solution[:] += factor * state.direction
    state.residual[:] -= factor * image
    scaled = state.residual * state.inverse_diagonal
    products = ops.dot_rows(state.residual, scaled)
    ratio = ops.cast(ops.where(active, products / ops.where(active, state.products, 1.0), 0.0), image)
    state.direction[:] = scaled + ratio[:, None] * state.direction
    state.products[:] = ops.where(active, products, 0.0)  # a row that is done stays so
    return bool(active.any())
