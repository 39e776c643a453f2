"""Memory that a thread uses again and again, for what its kernels collect."""

import threading
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt


class _Scratch(threading.local):
    """The memory of a thread. It is kept, so that it is touched for the first time only once."""

    memory: npt.NDArray[np.uint64] = np.empty(0, np.uint64)


_scratch = _Scratch()


def scratch_arrays(entries: int, *dtypes: np.dtype[Any]) -> list[npt.NDArray[Any]]:
    """Return arrays of `entries` each; they are overwritten by the next caller of this thread."""
    words = -(-entries // 8) * 8  # whole words of each dtype
    size = sum(words * dtype.itemsize for dtype in dtypes) // 8
    if len(_scratch.memory) < size:
        _scratch.memory = np.empty(size, np.uint64)
    ends = list(accumulate(words * dtype.itemsize // 8 for dtype in dtypes))
    return [_scratch.memory[begin:end].view(dtype) for begin, end, dtype in zip([0, *ends], ends, dtypes, strict=False)]
