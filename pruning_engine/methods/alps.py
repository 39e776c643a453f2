"""ALPS: the mask and the weights are found together, by alternating between all weights and those that a mask leaves.

Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models", 2024,
arXiv:2406.07831, algorithm 1 (ADMM). Inputs are scaled to H_jj = 1. With U = W + V/rho, the projection D = U · mask and
the dual V = rho U · (1 - mask), so that U and the mask are all that is kept. Products with (H + rho I)⁻¹ are with that
inverse, computed anew for each rho, where the paper has an eigendecomposition.

On layers of MiniLM the error after a refit is 10 to 40 % below that of SparseGPT with a refit, the more the sparser.
"""

from dataclasses import dataclass
from typing import Final

from pruning_engine.methods.arrays import Array, Arrays, arrays_of, row_blocks
from pruning_engine.methods.choices import Choice
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.sparsegpt import Eliminated

FIRST_PENALTY: Final = 0.1
"""rho at first, relative to H_jj = 1."""

ROUNDS: Final = 3
"""Steps with one rho."""

GROWTH: Final = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""rho grows by the second number if more than the first, as a part of the mask, has changed since it grew before."""


def alps(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array, gram: Gram, choose: Choice, *, keep: Array | None = None, steps: int = 300, damping: float = 0.01
) -> Eliminated:
    """Return a mask, and weights that a refit from there improves; those of dead inputs count as 0.

    `choose` is asked about all columns at once, and `keep` is as in `eliminate`.
    `steps`: at most; it ends when the mask no longer changes, after 40 to 70 on layers of MiniLM.
    Cost: a product (R, C) · (C, C) a step, a factorisation and an inverse every three steps; memory of 2 H and 2 W.
    """
    ops = arrays_of(weight)
    before = weight == weight if keep is None else keep  # noqa: PLR0124 - all True
    roots = ops.cast(gram.diagonal, weight) ** 0.5
    scales = ops.where(roots > 0, 1 / ops.where(roots > 0, roots, 1.0), 0.0)
    matrix = gram.matrix_like(weight) * scales
    matrix *= scales[:, None]
    for at in range(len(matrix)):
        matrix[at, at] += damping
    state = _State(ops, matrix, weight * roots, choose, before)
    mask, solution = state.solve(steps)
    solution *= mask
    return Eliminated(mask, solution * scales, damping)


@dataclass(frozen=True, slots=True)
class _State:
    """What stays the same: H and W scaled to H_jj = 1."""

    ops: Arrays
    matrix: Array
    weight: Array
    choose: Choice
    before: Array

    def solve(self, steps: int) -> tuple[Array, Array]:
        """Return the mask and U."""
        target, solution = self.ops.matmul(self.weight, self.matrix), self.ops.copy(self.weight)
        mask, penalty, grown = self._project(solution), FIRST_PENALTY, FIRST_PENALTY
        solution *= mask  # the dual is 0 at first
        for _ in range(0, steps, ROUNDS):
            inverse = self._inverse(grown)
            last = mask
            for _ in range(ROUNDS):
                self._step(target, solution, mask, inverse, (penalty, grown))
                penalty = grown
                mask = self._project(solution)
            changed = float((mask != last).sum()) / max(1.0, float(mask.sum()))
            if changed == 0:
                break
            grown = penalty * next(growth for least, growth in GROWTH if changed >= least)
        return mask, solution

    def _step(
        self, target: Array, solution: Array, mask: Array, inverse: Array, penalties: tuple[float, float]
    ) -> None:
        """Turn U into the next, in place; the dual in it is of the first penalty."""
        before, now = penalties
        for rows in row_blocks(*solution.shape):
            kept = self.ops.where(mask[rows], solution[rows], 0.0)
            dual = before * (solution[rows] - kept)
            solution[rows] = self.ops.matmul(target[rows] - dual + now * kept, inverse) + dual / now

    def _project(self, solution: Array) -> Array:
        return self.choose(solution * solution, 0, self.before)

    def _inverse(self, penalty: float) -> Array:
        upper = self.ops.upper_factor(self.matrix, penalty)
        if upper is None:
            raise ValueError("the Gram matrix is not positive semi-definite")
        return self.ops.matmul(self.ops.transpose(upper), upper)
