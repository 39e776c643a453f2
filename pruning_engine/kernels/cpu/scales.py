"""Numbers times the scales of their blocks, in place."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.backend import Integers
from pruning_engine.kernels.scaled_weights import ScaledWeights


class Scales:
    """The scales of one tensor, multiplied with runs of its entries or with single ones."""

    def __init__(self, weights: ScaledWeights) -> None:
        self._scales = weights.scales
        self._layout = weights.layout
        self._by_row = weights.layout.rows()
        self._row_entries = weights.layout.shape[-1] if weights.layout.shape else 1

    def multiply_run_(self, numbers: npt.NDArray[Any], begin: int) -> None:
        """Multiply the numbers of consecutive entries, whole rows at once."""
        if self._layout.scales == 1:
            with np.errstate(invalid="ignore"):  # infinity times 0 is NaN, and refused as such
                numbers *= self._scales[0]
            return
        end, entries = begin + len(numbers), self._row_entries
        first = min(end, -(-begin // entries) * entries)
        last = max(first, end // entries * entries)
        self.multiply_(numbers[: first - begin], np.arange(begin, first))
        self._multiply_rows(numbers[first - begin : last - begin].reshape(-1, entries), first // entries)
        self.multiply_(numbers[last - begin :], np.arange(last, end))

    def multiply_(self, numbers: npt.NDArray[Any], positions: Integers) -> None:
        """Multiply the numbers of the entries at `positions`."""
        if len(numbers):
            with np.errstate(invalid="ignore"):
                numbers *= self._scales[self._layout.indices(positions)]

    def _multiply_rows(self, rows: npt.NDArray[Any], first: int) -> None:
        """Multiply whole rows from row `first` on."""
        if not len(rows):
            return
        block, count = self._layout.blocks[-1], self._layout.counts[-1]
        of_row = self._by_row.indices(np.arange(first, first + len(rows)))
        factors = self._scales.reshape(-1, count)[of_row]
        with np.errstate(invalid="ignore"):
            if block * count == rows.shape[1]:
                blocks = rows.reshape(len(rows), count, block)
                blocks *= factors[:, :, None]
            else:
                rows *= np.repeat(factors, block, axis=1)[:, : rows.shape[1]]
