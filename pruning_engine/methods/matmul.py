"""Products of large matrices on the engine's own threads, with a BLAS that may have one thread.

Threads of OpenBLAS wait for each other by spinning. On a machine that does something else as well, or in a container
with less processor time than cores, a product with two of them takes up to ten times as long as with one. So programs
that own their process set OPENBLAS_NUM_THREADS=1, and rows are divided here.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.runtime.threads import get_threads, in_parallel

Floats = npt.NDArray[Any]

_LEAST_OPERATIONS: Final = 1 << 24
"""Of one thread: a product of fewer multiplications takes less time than waking a thread."""


def matmul(one: Floats, other: Floats, out: Floats | None = None) -> Floats:
    """Return one (R, K) @ other (K, C), written to `out` if there is one."""
    rows = len(one)
    result = np.empty((rows, other.shape[1]), np.result_type(one, other)) if out is None else out
    parts = min(get_threads(), rows, one.size * other.shape[1] // _LEAST_OPERATIONS)
    if parts <= 1:
        np.matmul(one, other, out=result)
        return result
    ends = [rows * number // parts for number in range(parts + 1)]
    slices = [slice(begin, end) for begin, end in pairwise(ends)]
    in_parallel(lambda part: np.matmul(one[part], other, out=result[part]), slices)
    return result
