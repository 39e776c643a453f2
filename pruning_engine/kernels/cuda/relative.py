"""Sums of rows and columns of matrices, and magnitudes relative to them as keys, in torch: see kernels/relative.py."""

import torch

from pruning_engine.kernels.cuda.bits import unpack_bits
from pruning_engine.kernels.cuda.values import NumberReader, Values
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice
from pruning_engine.kernels.relative import RelativeFactors


def line_sums(
    reader: NumberReader, mask: PackedMask, shape: tuple[int, int, int], unit: float, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of |x| / unit, rounded to whole numbers, of each row and of each column of matrices."""
    matrices, rows, columns = shape
    device, at_once = reader.flat.device, max(1, step // max(1, columns))
    of_rows = torch.zeros((matrices, rows), dtype=torch.float64, device=device)
    of_columns = torch.zeros((matrices, columns), dtype=torch.float64, device=device)
    for matrix in range(matrices):
        for first in range(0, rows, at_once):
            last = min(first + at_once, rows)
            begin, end = (matrix * rows + first) * columns, (matrix * rows + last) * columns
            numbers = reader.read(begin, end, torch.float64).abs()
            if mask.bits is not None:
                before = begin % 8
                bits = unpack_bits(mask.bits[packed_slice(begin, end)], before + len(numbers))
                numbers = numbers.where(bits[before:], 0.0)
            multiples = (numbers * (1.0 / unit)).round().view(last - first, columns)
            of_rows[matrix, first:last] = multiples.sum(dim=1)
            of_columns[matrix] += multiples.sum(dim=0)
    return of_rows, of_columns


class RelativeKeys:
    """The bits of |x| times its factor, in fp64."""

    offset = 0

    def __init__(self, values: Values, factors: RelativeFactors) -> None:
        self.highest = highest_key("F64")
        self.largest_number = largest_number("F64")
        self._numbers = NumberReader(values)
        self.device = self._numbers.flat.device
        self._rows, self._columns = (torch.from_numpy(each).to(self.device) for each in (factors.rows, factors.columns))
        self._norms = None if factors.norms is None else torch.from_numpy(factors.norms).to(self.device)
        self._norms_are_of_rows = factors.norms_are_of_rows

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        positions = torch.arange(begin, end, device=self.device)
        return self._keys(self._numbers.read(begin, end, torch.float64), positions)

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        return self._keys(self._numbers.at(positions, torch.float64), positions)

    def _keys(self, numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        column, row = positions % self._columns.shape[1], positions // self._columns.shape[1]
        matrix, row = row // self._rows.shape[1], row % self._rows.shape[1]
        factors = self._rows[matrix, row] + self._columns[matrix, column]
        if self._norms is not None:
            of = row if self._norms_are_of_rows else column
            factors = factors * self._norms[matrix if len(self._norms) > 1 else torch.zeros_like(matrix), of]
        return (numbers.abs() * factors).view(torch.int64) & self.highest
