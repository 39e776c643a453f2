"""SparseGPT: columns are pruned from left to right, and each error is made up for by the columns to its right.

Source: Frantar, Alistarh, "SparseGPT: Massive Language Models Can be Accurately Pruned in One-Shot", 2023,
arXiv:2301.00774, algorithm 1. Here the counts are exact (`choices`), the factor is computed without H⁻¹ itself, and
updates of columns to the right wait for several blocks.
"""

from dataclasses import dataclass
from typing import Final

from pruning_engine.kernels.compiled.statistics_kernels import Columns
from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.methods.choices import Choice, NOfM
from pruning_engine.methods.gram import Gram
from pruning_engine.runtime.yield_points import with_yields

PANEL: Final = 512
"""Columns after which the columns to their right are updated: long products are faster, and read memory less often."""


@dataclass(frozen=True, slots=True)
class Eliminated:
    """A mask and the weights that make up for it.

    Attributes:
        keep: (R, C) bool.
        weight: (R, C), 0 where pruned.
        damping: what was used, relative to mean(diag H): at least what was asked for.
    """

    keep: Array
    weight: Array
    damping: float


def eliminate(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array, gram: Gram, choose: Choice, *, keep: Array | None = None, block: int = 128, damping: float = 0.01
) -> Eliminated:
    """Return what SparseGPT prunes and the weights it leaves; those of dead inputs count as 0.

    `weight`: the layer whose outputs are to be kept. Entries that `keep` says were pruned before stay pruned: their
    values here are made up for as well, so pass zeros where they were part of no output.
    `block`: columns that are chosen among at a time, rounded up to a multiple of `choose.width`.
    """
    ops = arrays_of(weight)
    factor = gram.inverse_cholesky(damping)
    weight = ops.copy(weight)
    weight[:, gram.dead] = 0
    mask = weight == weight if keep is None else ops.copy(keep)  # noqa: PLR0124 - all True
    block = _multiple(block, choose.width or 1)
    state = _Elimination(weight, mask, factor.upper, choose)
    columns = weight.shape[1]
    for panel in _parts(0, columns, _multiple(PANEL, block)):
        errors = ops.zeros((weight.shape[0], panel.stop - panel.start), weight)
        for part in with_yields(_parts(panel.start, panel.stop, block)):
            state.correct(part, errors, panel.start)
            state.eliminate(part, errors[:, part.start - panel.start : part.stop - panel.start])
        for rows in row_blocks(weight.shape[0], columns) if panel.stop < columns else ():
            weight[rows, panel.stop :] -= ops.matmul(errors[rows], ops.cast(factor.upper[panel, panel.stop :], weight))
    return Eliminated(mask, weight, factor.damping)


@dataclass(frozen=True, slots=True)
class _Elimination:
    """Weights and mask on the way, changed in place; columns of `upper` are those of the matrix."""

    weight: Array
    mask: Array
    upper: Array
    choose: Choice

    def correct(self, part: slice, errors: Array, begin: int) -> None:
        """Make up for the errors of columns from `begin` to the part's."""
        if part.start > begin:
            ops = arrays_of(self.weight)
            upper = ops.cast(self.upper[begin : part.start, part], self.weight)
            self.weight[:, part] -= ops.matmul(errors[:, : part.start - begin], upper)

    def eliminate(self, part: slice, errors: Array) -> None:
        """Prune a block of columns, as many at a time as are chosen at a time; `errors` (R, B) receives theirs."""
        ops = arrays_of(self.weight)
        upper = ops.copy(ops.cast(self.upper[part, part], self.weight))
        weight, mask, diagonal = self.weight[:, part], self.mask[:, part], upper.diagonal()
        size = weight.shape[1]
        block = Columns(weight, upper, mask, errors)
        if isinstance(self.choose, NOfM) and ops.eliminate_groups(self.choose.n_of_m, block):
            return
        for few in _parts(0, size, self.choose.width or size):
            mask[:, few] = self.choose((weight[:, few] / diagonal[few]) ** 2, part.start + few.start, mask[:, few])
            ops.eliminate(Columns(weight[:, few], upper[few, few], mask[:, few], errors[:, few]))
            if few.stop < size:
                weight[:, few.stop :] -= errors[:, few] @ upper[few, few.stop :]


def _parts(begin: int, end: int, step: int) -> list[slice]:
    return [slice(first, min(end, first + step)) for first in range(begin, end, step)]


def _multiple(number: int, of: int) -> int:
    """Return the least multiple of `of` that is no less than `number`."""
    return -(-number // of) * of
