"""The compiled loops of pruning with statistics, on matrices of any size and any numbers: nothing beyond their ends.

That they compute what numpy does is tested in `tests/engine/methods/test_compiled.py`. Here the numbers may be infinite
or NaN; with the libraries of `sanitized` AddressSanitizer looks at every access.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.compiled.library import NUMPY, available_kernels, set_kernels
from pruning_engine.kernels.compiled.statistics_kernels import (
    CalibratedKernels,
    Columns,
    Conjugates,
    Swaps,
    calibrated_kernels,
)
from pruning_engine.methods.swaps import MOST_COMPILED
from tests.fuzzing.choices import Choices

MOST_ROWS = 70
MOST_COLUMNS = 90


def check(data: bytes) -> None:
    """Run the loop that the bytes describe. Raises: AssertionError if it leaves what it may not."""
    choices = Choices(data)
    set_kernels(choices.one_of([name for name in available_kernels() if name != NUMPY]))
    kernels = calibrated_kernels()
    assert kernels is not None
    operation = choices.one_of(OPERATIONS)
    rows, columns = choices.integer(1, MOST_ROWS), choices.integer(1, MOST_COLUMNS)
    with np.errstate(all="ignore"):
        operation(kernels, _Arrays(choices, rows, columns), choices)


class _Arrays:
    """Arrays of one case."""

    def __init__(self, choices: Choices, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._kind = choices.integer(0, 2)
        self._generator = np.random.default_rng(choices.integer(0, 255))

    def floats(self, *shape: int) -> npt.NDArray[np.float32]:
        """Return numbers: of ordinary size, few different ones, or any bits."""
        if self._kind == 2:
            bits = self._generator.integers(0, 256, (*shape[:-1], 4 * shape[-1]), np.uint8)
            return np.ascontiguousarray(bits).view(np.float32)
        numbers = self._generator.standard_normal(shape)
        return np.ascontiguousarray(np.rint(numbers) if self._kind else numbers, np.float32)

    def sums(self, *shape: int) -> npt.NDArray[np.float64]:
        """Return numbers in fp64."""
        return self.floats(*shape).astype(np.float64)

    def mask(self, *shape: int) -> npt.NDArray[np.bool_]:
        """Return a mask."""
        return self._generator.random(shape) < (0.5, 0.02, 0.98)[self._kind]


def _eliminate(kernels: CalibratedKernels, arrays: _Arrays, choices: Choices) -> None:
    columns = _columns(arrays)
    kernels.eliminate(columns)
    assert not columns.weight[~columns.keep].any(), "a pruned entry is not 0"


def _eliminate_groups(kernels: CalibratedKernels, arrays: _Arrays, choices: Choices) -> None:
    size = choices.integer(1, 20)
    kept, columns = choices.integer(1, size), _columns(arrays)
    kernels.eliminate_groups((kept, size), columns)
    whole = columns.keep[:, : arrays.columns // size * size].reshape(arrays.rows, -1, size)
    assert (whole.sum(axis=2) <= kept).all(), "a group has more entries than it may"


def _columns(arrays: _Arrays) -> Columns:
    """Return columns within a wider matrix, as those of a block are."""
    rows, columns = arrays.rows, arrays.columns
    wide = arrays.floats(rows, columns + 3)
    return Columns(
        weight=wide[:, 3:],
        upper=arrays.floats(columns, columns),
        keep=arrays.mask(rows, columns + 3)[:, 3:],
        errors=arrays.floats(rows, columns),
    )


def _conjugates(kernels: CalibratedKernels, arrays: _Arrays, choices: Choices) -> None:
    shape = arrays.rows, arrays.columns
    state = Conjugates(
        keep=arrays.mask(*shape),
        inverse_diagonal=arrays.floats(arrays.columns),
        image=arrays.floats(*shape),
        direction=arrays.floats(*shape),
        residual=arrays.floats(*shape),
        solution=arrays.floats(*shape),
        products=arrays.sums(arrays.rows),
        enough=arrays.sums(arrays.rows),
        change=arrays.sums(arrays.rows),
    )
    for _ in range(3):
        moved = kernels.conjugate_advance(0.01, state)
        assert 0 <= moved <= arrays.rows
        kernels.conjugate_turn(state)


def _integers(kernels: CalibratedKernels, arrays: _Arrays, choices: Choices) -> None:
    limit = float(2 ** choices.integer(1, 26))
    matrix = arrays.floats(arrays.rows, arrays.columns + 2)[:, 2:]
    found = kernels.integers(matrix, arrays.sums(arrays.rows), arrays.sums(arrays.columns), limit)
    finite = found[np.isfinite(found)]
    assert (np.abs(finite) <= limit).all(), "a number is above the limit"
    assert (finite == np.rint(finite)).all(), "a number is not whole"


def _swap(kernels: CalibratedKernels, arrays: _Arrays, choices: Choices) -> None:
    rows, columns = arrays.rows, arrays.columns
    matrix = arrays.floats(columns, columns)
    group = choices.integer(2, 16) if choices.integer(0, 1) else 0
    search = Swaps(
        *(matrix, matrix.diagonal().copy(), arrays.floats(columns), _tiles(matrix, group) if group else None),
        *(choices.integer(0, 30), choices.integer(1, MOST_COMPILED), group),
    )
    keep = arrays.mask(rows, columns)
    allowed = ~keep & arrays.mask(rows, columns)
    before = keep.sum(axis=1)
    kernels.swap(search, arrays.floats(rows, columns), keep, allowed, arrays.floats(rows, columns))
    assert (keep.sum(axis=1) == before).all(), "a swap changed how many entries are kept"


def _tiles(matrix: npt.NDArray[np.float32], group: int) -> Any:
    within = np.arange(len(matrix) // group * group).reshape(-1, group)
    return np.ascontiguousarray(matrix[within[:, :, None], within[:, None, :]])


OPERATIONS: Sequence[Callable[[CalibratedKernels, _Arrays, Choices], None]] = (
    *(_eliminate, _eliminate_groups, _conjugates, _integers, _swap),
)
