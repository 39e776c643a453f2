"""Memory that kernels use again and again, for what they collect.

It is kept, so that it is touched for the first time only once. There is as much as is used at the same time: by the
threads that compute, of which there are far fewer than threads that wait for their turn.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_free: Final[deque[npt.NDArray[np.uint64]]] = deque()  # what was used last is still in the processor's caches


@contextmanager
def scratch_arrays(entries: int, *dtypes: np.dtype[Any]) -> Iterator[list[npt.NDArray[Any]]]:
    """Lend arrays of `entries` each while inside; nobody else has them meanwhile."""
    words = -(-entries // 8) * 8  # whole words of each dtype
    ends = list(accumulate((words * dtype.itemsize // 8 for dtype in dtypes), initial=0))
    memory = _taken(ends[-1])
    try:
        yield [memory[begin:end].view(dtype) for begin, end, dtype in zip(ends, ends[1:], dtypes, strict=False)]
    finally:
        _free.append(memory)


def free_scratch_arrays() -> None:
    """Free what nobody uses now."""
    _free.clear()


def _taken(size: int) -> npt.NDArray[np.uint64]:
    try:
        memory = _free.pop()
    except IndexError:
        return np.empty(size, np.uint64)
    return memory if len(memory) >= size else np.empty(size, np.uint64)
