"""ALPS: the mask and the weights are found together, by alternating between all weights and those that a mask leaves.

Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models", 2024,
arXiv:2406.07831, algorithm 1 (ADMM). Inputs are scaled to H_jj = 1. With U = W + V/rho, the projection D = U · mask and
the dual V = rho U · (1 - mask), so that U and the mask are all that is kept. Products with (H + rho I)⁻¹ are with that
inverse, computed anew for each rho, where the paper has an eigendecomposition.
"""

from dataclasses import dataclass
from typing import Final

from pruning_engine.methods.arrays import Array, Arrays, arrays_of, row_blocks
from pruning_engine.methods.choices import Choice
from pruning_engine.methods.gram import LARGEST_DAMPING, SMALLEST_DAMPING, Gram
from pruning_engine.methods.sparsegpt import Eliminated
from pruning_engine.runtime.yield_points import with_yields

FIRST_PENALTY: Final = 0.1
"""rho at first, relative to H_jj = 1."""

ROUNDS: Final = 3
"""Steps with one rho."""

BLOCK_ENTRIES: Final = 1 << 20
"""Entries of the rows that one step is computed of at a time."""

GROWTH: Final = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""rho grows by the second number if more than the first, as a part of the mask, has changed since it grew before."""


def alps(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array, gram: Gram, choose: Choice, *, keep: Array | None = None, steps: int = 300, damping: float = 0.05
) -> Eliminated:
    """Return a mask, and weights that a refit from there improves; those of dead inputs count as 0.

    `choose` is asked about all columns at once, and `keep` is as in `eliminate`.
    `steps`: at most; it ends when the mask no longer changes, after 40 to 70 on layers of MiniLM.
    `damping`: a part of each H_jj that is added to it. It grows tenfold until the sum is positive definite.
    Cost: a product (R, C) · (C, C) a step, and an inverse every three steps; memory of 2 H and 3 W.
    """
    ops = arrays_of(weight)
    before = weight == weight if keep is None else keep  # noqa: PLR0124 - all True
    roots = ops.cast(gram.diagonal, weight) ** 0.5
    scales = ops.where(roots > 0, 1 / ops.where(roots > 0, roots, 1.0), 0.0)
    matrix = gram.matrix_like(weight) * scales
    matrix *= scales[:, None]
    used = _add_damping(ops, matrix, damping)
    solution = weight * roots
    mask = _State(ops, matrix, ops.matmul(solution, matrix), choose, before).solve(solution, steps)
    solution *= mask
    solution *= scales
    return Eliminated(mask, solution, used)


def _add_damping(ops: Arrays, matrix: Array, damping: float) -> float:
    """Add to the diagonal what makes the matrix positive definite, in place; return it: at least what was asked for."""
    added = 0.0
    while True:
        matrix.reshape(-1)[:: len(matrix) + 1] += damping - added
        if ops.upper_factor(matrix, 0.0) is not None:
            return damping
        added, damping = damping, max(10 * damping, SMALLEST_DAMPING)
        if damping > LARGEST_DAMPING:
            raise ValueError("the Gram matrix is not positive semi-definite")


@dataclass(frozen=True, slots=True)
class _State:
    """What stays the same: H, and W H, scaled to H_jj = 1."""

    ops: Arrays
    matrix: Array
    target: Array
    choose: Choice
    before: Array

    def solve(self, solution: Array, steps: int) -> Array:
        """Turn `solution` from W into U, in place, and return the mask."""
        mask, penalty, grown = self._project(solution), FIRST_PENALTY, FIRST_PENALTY
        solution *= mask  # the dual is 0 at first
        for first in range(0, steps, ROUNDS):
            last, mask = mask, self._steps(solution, mask, min(ROUNDS, steps - first), (penalty, grown))
            penalty = grown
            changed = float((mask != last).sum()) / max(1.0, float(mask.sum()))
            if changed == 0:
                break
            grown = penalty * next(growth for least, growth in GROWTH if changed >= least)
        return mask

    def _steps(self, solution: Array, mask: Array, count: int, penalties: tuple[float, float]) -> Array:
        """Take steps with one rho, in place, and return the mask; the dual in U is of the first penalty."""
        before, now = penalties
        inverse = self._inverse(now)
        for _ in range(count):
            self._step(solution, mask, inverse, (before, now))
            before, mask = now, self._project(solution)
        return mask

    def _step(self, solution: Array, mask: Array, inverse: Array, penalties: tuple[float, float]) -> None:
        """Turn U into the next, in place; the dual in it is of the first penalty."""
        before, now = penalties
        for rows in with_yields(row_blocks(len(solution), solution.shape[1], BLOCK_ENTRIES), 1):
            part = solution[rows]
            kept = self.ops.where(mask[rows], part, 0.0)
            part -= kept
            part *= before  # V
            kept *= now
            kept += self.target[rows]
            kept -= part
            part *= 1 / now
            part += self.ops.matmul(kept, inverse)

    def _project(self, solution: Array) -> Array:
        return self.choose(solution * solution, 0, self.before)

    def _inverse(self, penalty: float) -> Array:
        inverse = self.ops.inverse(self.matrix, penalty)
        if inverse is None:
            raise ValueError("the Gram matrix is not positive semi-definite")
        return inverse
