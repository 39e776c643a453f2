"""Magnitudes relative to their row and column, of a stack of matrices: where rows, columns and norms are. Knows shapes
and arrays of factors, no weights.

Source: Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models" (RIA), ICLR
2024, equations 4 and 5: (|w| / sum of its row + |w| / sum of its column) * norm of its input ^ exponent.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

SUMMED_BITS: Final = 52
"""Bits of a whole number that fp64 adds exactly."""


@dataclass(frozen=True, slots=True, eq=False)
class RelativeFactors:
    """Factors of matrices as they are stored, (matrices, rows, columns): |w| * (rows + columns) * norms.

    Shape: `rows` (matrices, rows), `columns` (matrices, columns), in fp64: one over the sum of |w|, 0 where that is 0.
    `norms`: of the columns (or 1, columns), of the rows if `norms_are_of_rows`; None: 1.
    """

    rows: Floats
    columns: Floats
    norms: Floats | None
    norms_are_of_rows: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The matrices, their rows and their columns."""
        return (*self.rows.shape, self.columns.shape[1])

    def of_rows(self, first: int, last: int) -> Floats:
        """Return the factors of some rows of all matrices, numbered one after the other: (rows, columns)."""
        matrix, row = np.divmod(np.arange(first, last), self.rows.shape[1])
        factors: Floats = self.rows[matrix, row, None] + self.columns[matrix]
        if self.norms is not None:
            norms = np.broadcast_to(self.norms, (len(self.rows), self.norms.shape[1]))
            factors *= norms[matrix, row, None] if self.norms_are_of_rows else norms[matrix]
        return factors

    def at(self, positions: npt.NDArray[np.int64]) -> Floats:
        """Return the factors of the entries at flat positions."""
        row, column = np.divmod(positions, self.shape[2])
        matrix, row = np.divmod(row, self.rows.shape[1])
        factors: Floats = self.rows[matrix, row] + self.columns[matrix, column]
        if self.norms is not None:
            norms = np.broadcast_to(self.norms, (len(self.rows), self.norms.shape[1]))
            factors *= norms[matrix, row if self.norms_are_of_rows else column]
        return factors


def inverses(sums: Floats) -> Floats:
    """Return one over each sum, and 0 for a sum of 0, whose entries are all 0."""
    found: Floats = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return found


def summed_unit(largest: float, count: int) -> float:
    """Return a power of 2 of which `count` multiples, each rounded to a whole one up to `largest`, add exactly.

    Sums of numbers rounded to it are the same in any order, and so on any device and for any number of threads.
    """
    bits = max(1, count - 1).bit_length() + int(np.frexp(largest)[1])
    return float(np.ldexp(1.0, max(bits - SUMMED_BITS, -1000)))
