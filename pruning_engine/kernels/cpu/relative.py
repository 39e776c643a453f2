"""Sums of rows and columns of matrices, and magnitudes relative to them as keys: see kernels/relative.py."""

import numpy as np

from pruning_engine.kernels.backend import RUN_ENTRIES, Floats, Integers
from pruning_engine.kernels.cpu.arrays import NumberReader, Values, unpacked_from
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.relative import RelativeFactors
from pruning_engine.runtime.threads import in_parallel


def line_sums(
    flat: Values, mask: PackedMask, shape: tuple[int, int, int], unit: float, step: int
) -> tuple[Floats, Floats]:
    """Return the sums of |x| of each row and of each column of matrices; see `Backend.line_sums`."""
    matrices, rows, columns = shape
    reader, at_once = NumberReader(flat, np.float64), max(1, step // max(1, columns))
    of_rows, of_columns = np.zeros((matrices, rows)), np.zeros((matrices, columns))
    jobs = [(matrix, row) for matrix in range(matrices) for row in range(0, rows, at_once)]

    def add(job: tuple[int, int]) -> Floats:
        matrix, first = job
        last = min(first + at_once, rows)
        begin, end = (matrix * rows + first) * columns, (matrix * rows + last) * columns
        numbers = reader.read(begin, end)
        np.abs(numbers, out=numbers)
        if mask.bits is not None:
            numbers[~unpacked_from(mask.bits, begin, end)] = 0.0
        numbers *= 1.0 / unit
        np.rint(numbers, out=numbers)
        multiples = numbers.reshape(last - first, columns)
        of_rows[matrix, first:last] = multiples.sum(axis=1)
        summed: Floats = multiples.sum(axis=0)
        return summed

    at_a_time = max(8, 4 * step // max(1, columns))
    for begin in range(0, len(jobs), at_a_time):
        lot = jobs[begin : begin + at_a_time]
        for (matrix, _), part in zip(lot, in_parallel(add, lot), strict=True):
            of_columns[matrix] += part
    return of_rows * unit, of_columns * unit


class RelativeKeys:
    """The bits of |x| times its factor, in fp64."""

    def __init__(self, flat: Values, factors: RelativeFactors) -> None:
        self.highest = highest_key("F64")
        self.largest_number = largest_number("F64")
        self._numbers = NumberReader(flat, np.float64)
        self._factors = factors

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        columns = self._factors.shape[2]
        first, last = begin // columns, -(-end // columns)
        numbers = self._numbers.read(begin, end)
        np.abs(numbers, out=numbers)
        factors = self._factors.of_rows(first, last).reshape(-1)
        with np.errstate(all="ignore"):
            numbers *= factors[begin - first * columns : end - first * columns]
        return numbers.view(np.uint64)

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        return self.at((numbers[:, None] * RUN_ENTRIES + np.arange(RUN_ENTRIES)).reshape(-1))

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        numbers = np.abs(self._numbers.at(positions))
        with np.errstate(all="ignore"):
            numbers *= self._factors.at(positions)
        keys: Integers = numbers.view(np.uint64)
        return keys
