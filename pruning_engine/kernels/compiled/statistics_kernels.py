"""The functions of calibrated.c on numpy matrices: rows are given to threads. What they compute is said in that file.

All are for fp32. Where the library was not compiled, or numpy's kernels were chosen, there is none.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.compiled.library import LEVELS, NUMPY, address, function_of, get_kernels
from pruning_engine.runtime.threads import get_threads, in_parallel

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

PATH: Final = Path(__file__).with_name("calibrated.so")
"""Where the build puts the library (hatch_build.py)."""

_ROWS: Final = 64
"""Rows of a piece, at least: long enough a call for the threads (see threads.py)."""


class _Matrix(ctypes.Structure):
    _fields_ = (("entries", ctypes.c_void_p), ("step", ctypes.c_int64))


_CONJUGATES: Final = (
    *("keep", "inverse_diagonal", "image", "direction", "residual", "solution"),
    *("products", "enough", "change"),
)


class _Conjugates(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in _CONJUGATES)


class _Problem(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("columns", "steps", "candidates", "group")),
        *((name, ctypes.c_void_p) for name in ("matrix", "diagonal", "roots", "tiles")),
    )


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns (R, B) of a matrix that are pruned from left to right.

    Attributes:
        weight: changed.
        upper: (B, B), their rows and columns of U.
        keep: which stay.
        errors: receives w / U_jj where pruned, else 0.
    """

    weight: Any
    upper: Any
    keep: Any
    errors: Any


@dataclass(frozen=True, slots=True)
class Conjugates:
    """What conjugate gradients work on, (R, C) unless said otherwise: see calibrated.c."""

    keep: Mask
    inverse_diagonal: Floats
    image: Floats
    direction: Floats
    residual: Floats
    solution: Floats
    products: npt.NDArray[np.float64]
    enough: npt.NDArray[np.float64]
    change: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Swaps:
    """The search for swaps: see `methods/swaps.py`. `tiles` (groups, m, m): with a group, its rows and columns of H."""

    matrix: Floats
    diagonal: Floats
    roots: Floats
    tiles: Floats | None
    steps: int
    candidates: int
    group: int


@dataclass(frozen=True, slots=True)
class CalibratedKernels:
    """The library's functions for one instruction set. All arrays are C-contiguous, or columns of such."""

    library: ctypes.CDLL
    level: int

    def eliminate(self, columns: Columns) -> None:
        """Prune columns from left to right, each error made up for by the columns to its right. In place."""
        self._in_rows("eliminate", (), columns)

    def eliminate_groups(self, n_of_m: tuple[int, int], columns: Columns) -> None:
        """The same where the mask is chosen on the way: at most n of each m columns."""
        self._in_rows("eliminate_groups", n_of_m, columns)

    def _in_rows(self, name: str, numbers: tuple[int, ...], columns: Columns) -> None:
        def work(rows: slice) -> None:
            arrays = columns.weight[rows], columns.upper, columns.keep[rows], columns.errors[rows]
            parts = [_matrix(array) for array in arrays]
            size = rows.stop - rows.start, columns.weight.shape[1]
            self._call(name, *size, *numbers, *map(ctypes.addressof, parts))

        in_parallel(work, _pieces(len(columns.weight)))

    def conjugate_advance(self, damping: float, state: Conjugates) -> int:
        """Move each row that is not done along its direction, in place; return how many rows moved."""
        return self._on_conjugates("conjugate_advance", (damping,), state)

    def conjugate_turn(self, state: Conjugates) -> None:
        """Turn each row that is not done to its next direction, in place."""
        self._on_conjugates("conjugate_turn", (), state)

    def _on_conjugates(self, name: str, numbers: tuple[float, ...], state: Conjugates) -> int:
        shared = {"inverse_diagonal"}

        def work(rows: slice) -> int:
            fields = {name: getattr(state, name) for name in _CONJUGATES}
            places = {name: address(array if name in shared else array[rows]) for name, array in fields.items()}
            arrays = _Conjugates(**places)
            size = rows.stop - rows.start, state.keep.shape[1]
            return self._call(name, *size, *numbers, ctypes.addressof(arrays))

        return sum(in_parallel(work, _pieces(len(state.keep))))

    def integers(
        self, matrix: Floats, row_scales: npt.NDArray[np.float64], column_scales: npt.NDArray[np.float64], limit: float
    ) -> npt.NDArray[np.float64]:
        """Return matrix · row_scales · column_scales as whole numbers of at most `limit`."""
        result = np.empty(matrix.shape, np.float64)

        def work(rows: slice) -> None:
            part = _matrix(matrix[rows])
            scales = address(row_scales[rows]), address(column_scales)
            size = rows.stop - rows.start, matrix.shape[1]
            self._call("integers", *size, ctypes.addressof(part), *scales, limit, address(result[rows]))

        in_parallel(work, _pieces(len(matrix)))
        return result

    def swap(self, search: Swaps, weight: Floats, keep: Mask, allowed: Mask, images: Floats) -> None:
        """Swap entries of each row; `keep` is changed."""
        columns = weight.shape[1]
        arrays = (search.matrix, search.diagonal, search.roots, search.tiles)
        numbers = (columns, search.steps, search.candidates, search.group)
        problem = _Problem(*numbers, *map(address, arrays))

        def work(rows: slice) -> None:
            padded = [-(-size // 16) * 16 for size in (columns, search.candidates)]
            scratch = np.zeros(6 * padded[0] + padded[1] ** 2, np.float32)
            parts = (weight[rows], keep[rows], allowed[rows], images[rows], scratch)
            self._call("swap_rows", rows.stop - rows.start, ctypes.addressof(problem), *map(address, parts))

        in_parallel(work, _pieces(len(weight), most=16))

    def _call(self, name: str, *arguments: Any) -> int:
        return function_of(self.library, name, self.level)(*arguments)


def calibrated_kernels(*arrays: npt.NDArray[Any]) -> CalibratedKernels | None:
    """Return the compiled functions in use; None if there are none, or not for the dtype of these arrays."""
    name = get_kernels()
    library = None if name == NUMPY or any(array.dtype != np.float32 for array in arrays) else _load()
    return None if library is None else CalibratedKernels(library, LEVELS.index(name))


@cache
def _load() -> ctypes.CDLL | None:
    """Return the library; None where it was not compiled, or not for this machine, or from another version's source."""
    try:
        library = ctypes.CDLL(str(PATH))
        _declare_all(library)
    except (OSError, AttributeError):
        return None
    return library


def _declare_all(library: ctypes.CDLL) -> None:
    level, integer, pointer = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    _declare(library.pruning_eliminate, level, integer, integer, *[pointer] * 4)
    _declare(library.pruning_eliminate_groups, level, *[integer] * 4, *[pointer] * 4)
    _declare(library.pruning_conjugate_advance, level, integer, integer, ctypes.c_float, pointer)
    _declare(library.pruning_conjugate_turn, level, integer, integer, pointer)
    _declare(library.pruning_integers, level, integer, integer, *[pointer] * 3, ctypes.c_double, pointer)
    _declare(library.pruning_swap_rows, level, integer, *[pointer] * 6)


def _declare(function: Callable[..., int], *arguments: Any) -> None:
    function.argtypes, function.restype = arguments, ctypes.c_int64  # type: ignore[attr-defined]


def _matrix(array: npt.NDArray[Any]) -> _Matrix:
    return _Matrix(array.ctypes.data, array.strides[0] // array.itemsize)


def _pieces(rows: int, most: int = 512) -> list[slice]:
    """Return slices that are all rows: some for each thread, so that none waits long for another."""
    step = max(1, min(most, max(_ROWS, -(-rows // (4 * get_threads())))))
    return [slice(begin, min(rows, begin + step)) for begin in range(0, rows, step)]
