"""Magnitudes times one factor per channel, as keys: see keys.py."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import element_bits
from pruning_engine.kernels.backend import RUN_ENTRIES, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu.arrays import NumberReader, Values
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number
from pruning_engine.kernels.products import LEAST_INNER, batches_of, factor_indices


class ProductKeys:
    """The bits of |x| * factor, computed in `domain`, F32 or F64. Factors are finite numbers from 0."""

    def __init__(self, flat: Values, factors: npt.NDArray[Any], layout: ChannelLayout, domain: str) -> None:
        width = element_bits(domain) // 8
        self.highest = highest_key(domain)
        self.largest_number = largest_number(domain)
        self._dtype = np.dtype(f"u{width}")
        self._numbers = NumberReader(flat, f"f{width}")
        self._factors = factors.astype(f"f{width}", copy=False)
        self._layout = layout
        is_short = layout.inner < LEAST_INNER
        self._batches = batches_of(layout, len(factors))
        self._rows = np.repeat(self._factors, layout.inner).reshape(self._batches, -1) if is_short else None
        self._row_entries = layout.channels * layout.inner if is_short else layout.inner

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        numbers = self._numbers.read(begin, end)
        np.abs(numbers, out=numbers)
        first = min(end, -(-begin // self._row_entries) * self._row_entries)
        last = max(first, end // self._row_entries * self._row_entries)
        with np.errstate(all="ignore"):
            numbers[: first - begin] *= self._within_row(begin, first)
            rows = numbers[first - begin : last - begin].reshape(-1, self._row_entries)
            rows *= self._of_rows(first, last)
            numbers[last - begin :] *= self._within_row(last, end)
        return numbers.view(self._dtype)

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        return self.at((numbers[:, None] * RUN_ENTRIES + np.arange(RUN_ENTRIES)).reshape(-1))

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        numbers = np.abs(self._numbers.at(positions))
        with np.errstate(all="ignore"):
            numbers *= self._factors[factor_indices(positions, self._layout, self._batches)]
        keys: Integers = numbers.view(self._dtype)
        return keys

    def _within_row(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Return the factors of entries within one row."""
        if self._rows is None:
            factor = int(factor_indices(np.array([begin]), self._layout, self._batches)[0])
            return self._factors[factor : factor + 1]
        row, start = divmod(begin, self._row_entries)
        return self._rows[self._batch_of(row), start : start + end - begin]

    def _of_rows(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Return the factors of whole rows, to be broadcast."""
        rows = np.arange(begin // self._row_entries, end // self._row_entries)
        if self._rows is None:
            return self._factors[factor_indices(rows * self._row_entries, self._layout, self._batches), None]
        return self._rows if self._batches == 1 else self._rows[self._batch_of(rows)]

    def _batch_of(self, row: Any) -> Any:
        return row // max(1, self._layout.outer // self._batches) % self._batches  # of an empty run at the end, any
