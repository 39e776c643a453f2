"""Products of large matrices on the engine's own threads, with a BLAS that may have one thread.

Threads of OpenBLAS wait for each other by spinning. On a machine that does something else as well, or in a container
with less processor time than cores, a product with two of them takes up to ten times as long as with one. So programs
that own their process set OPENBLAS_NUM_THREADS=1, and rows are divided here. Where other calls may wait for their turn,
a product is divided into pieces of some milliseconds, with yields between them.
"""

from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.runtime.threads import get_threads, in_parallel
from pruning_engine.runtime.yield_points import is_yielding

Floats = npt.NDArray[Any]

_LEAST_OPERATIONS: Final = 1 << 24
"""Of one thread: a product of fewer multiplications takes less time than waking a thread."""

_PIECE_OPERATIONS: Final = 1 << 29
"""Of one piece where others wait: about 20 ms."""

_PIECE_ROWS: Final = 1024
_PIECE_COLUMNS: Final = 128
"""The most rows and the least columns of such a piece: BLAS copies both factors of each, in parts."""


def matmul(one: Floats, other: Floats, out: Floats | None = None) -> Floats:
    """Return one (R, K) @ other (K, C), written to `out` if there is one."""
    rows, columns = len(one), other.shape[1]
    result = np.empty((rows, columns), np.result_type(one, other)) if out is None else out
    pieces = _pieces(rows, columns, one.shape[1])
    if len(pieces) <= 1:
        np.matmul(one, other, out=result)
        return result

    def work(piece: tuple[slice, slice]) -> None:
        np.matmul(one[piece[0]], other[:, piece[1]], out=result[piece])

    in_parallel(work, pieces)
    return result


def _pieces(rows: int, columns: int, terms: int) -> list[tuple[slice, slice]]:
    """Return the rows and columns of each piece: one for each thread, or more where others wait."""
    threads = max(1, min(get_threads(), rows, rows * terms * columns // _LEAST_OPERATIONS))
    height, width = -(-rows // threads), columns
    if is_yielding() and height * terms * columns > _PIECE_OPERATIONS:
        height = min(height, _PIECE_ROWS)
        width = max(_PIECE_COLUMNS, _PIECE_OPERATIONS // (height * terms))
    return list(product(_slices(rows, height), _slices(columns, width)))


def _slices(size: int, step: int) -> list[slice]:
    return [slice(begin, min(size, begin + step)) for begin in range(0, size, max(1, step))]
