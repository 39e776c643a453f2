"""Which entries SparseGPT prunes: makers of `choose`, which decides for the next columns of a matrix.

Each choice is a function of its arguments alone: what is pruned up to a column follows from the totals, rounded
cumulatively, so that the total is exact whatever the size of a block. Among equal scores lower flat indices are pruned
first. Entries that were pruned before are not candidates.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from pruning_engine.methods.arrays import Array, arrays_of, row_blocks

Counts = npt.NDArray[np.int64]

_GROUPED_ENTRIES: Final = 1 << 18
"""Entries whose groups are counted at a time: a count takes as much memory as two groups of four."""


class Choice(Protocol):
    """Decides which entries of some columns are pruned."""

    @property
    def width(self) -> int | None:
        """Return how many columns are decided on at a time, which is a divisor of the block; None for a whole block."""

    @property
    def order(self) -> Counts | None:
        """Return the order of columns that it needs; None: any."""

    def __call__(self, scores: Array, first_column: int, keep: Array) -> Array:
        """Return the mask (R, B) of columns from `first_column` on, from their scores and the mask before."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixCount:
    """A number of entries of a whole matrix, spread over the columns in proportion to their candidates."""

    to_prune: int
    candidates_before: Counts
    """(C + 1,): the candidates of all columns before each."""
    width: int | None = field(default=None, init=False)
    order: Counts | None = field(default=None, init=False)

    def __call__(self, scores: Array, first_column: int, keep: Array) -> Array:
        """Prune the least of these columns' scores."""
        until = self._pruned_before(first_column + scores.shape[1])
        return arrays_of(scores).prune_least(scores, keep, until - self._pruned_before(first_column))

    def _pruned_before(self, column: int) -> int:
        return _share(self.to_prune, int(self.candidates_before[column]), int(self.candidates_before[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class RowCounts:
    """A number of entries of each row, spread over the columns in proportion to their candidates."""

    to_prune: Counts
    """(R,)."""
    keep: Array
    """(R, C): the mask before."""
    width: int | None = field(default=None, init=False)
    order: Counts | None = field(default=None, init=False)

    def __call__(self, scores: Array, first_column: int, keep: Array) -> Array:
        """Prune the least of each row's scores."""
        counts = self._pruned_before(first_column + scores.shape[1]) - self._pruned_before(first_column)
        return arrays_of(scores).prune_least_in_rows(scores, keep, counts)

    def _pruned_before(self, column: int) -> Counts:
        before, total = (_host(part.sum(axis=1)) for part in (self.keep[:, :column], self.keep))
        return (2 * self.to_prune * before + total) // np.maximum(1, 2 * total)


@dataclass(frozen=True, slots=True, eq=False)
class NOfM:
    """At most n entries are kept in each m consecutive columns of a row; columns after the last whole group all are.

    `order`: (C,), the columns in the order in which groups are consecutive; None: as they are.
    """

    n: int
    m: int
    order: Counts | None = None

    @property
    def n_of_m(self) -> tuple[int, int]:
        """Return both numbers."""
        return self.n, self.m

    @property
    def width(self) -> int | None:
        """Return one group: each is decided on when the columns before it are eliminated, as in the paper."""
        return self.m

    def __call__(self, scores: Array, first_column: int, keep: Array) -> Array:  # noqa: ARG002 - groups begin at 0
        """Prune the least of each group's scores."""
        rows, columns = scores.shape
        whole = columns - columns % self.m
        ops, mask = arrays_of(scores), arrays_of(keep).copy(keep)
        for some in row_blocks(rows, columns, _GROUPED_ENTRIES):
            candidates = mask[some, :whole].reshape(-1, self.m)
            counts = (_host(candidates.sum(axis=1)) - self.n).clip(min=0)
            chosen = ops.prune_least_in_rows(scores[some, :whole].reshape(-1, self.m), candidates, counts)
            mask[some, :whole] = chosen.reshape(len(mask[some]), whole)
        return mask


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A mask that is known."""

    keep: Array
    """(R, C)."""
    width: int | None = field(default=None, init=False)
    order: Counts | None = field(default=None, init=False)

    def __call__(self, scores: Array, first_column: int, keep: Array) -> Array:
        """Return its columns."""
        return keep & self.keep[:, first_column : first_column + scores.shape[1]]


def by_matrix(to_prune: int, keep: Array) -> MatrixCount:
    """Return the choice of exactly `to_prune` entries of those that `keep` (R, C) has."""
    before = np.concatenate([[0], np.cumsum(_host(keep.sum(axis=0)))])
    _check(to_prune, int(before[-1]))
    return MatrixCount(to_prune, before)


def by_rows(to_prune: int | Counts, keep: Array) -> RowCounts:
    """Return the choice of exactly `to_prune` entries, or `to_prune[row]`, of those that each row of `keep` has."""
    counts = np.broadcast_to(np.asarray(to_prune, np.int64), (keep.shape[0],))
    for count, candidates in zip(counts, _host(keep.sum(axis=1)), strict=True):
        _check(int(count), int(candidates))
    return RowCounts(counts, keep)


def n_of_m(n: int, m: int, order: Counts | None = None) -> NOfM:
    """Return the choice of n kept entries in each m along the columns, taken in an order."""
    return NOfM(n, m, order)


def given(keep: Array) -> Given:
    """Return the choice of a mask that is known."""
    return Given(keep)


def _share(total: int, part: int, whole: int) -> int:
    """Return total · part / whole, rounded, in exact integers; all of `total` for the whole."""
    return (2 * total * part + whole) // (2 * whole) if whole else 0


def _check(count: int, candidates: int) -> None:
    if not 0 <= count <= candidates:
        raise ValueError(f"0 to {candidates:,} entries can be pruned, got {count:,}")


def _host(counts: Array) -> Counts:
    return arrays_of(counts).host(counts).astype(np.int64, copy=False)
