"""The buffers that pieces are computed in, used again: first touch of fresh memory costs more than arithmetic.

Each thread that computes has a set of its own. One that waits may lend its set to others (`give_back`), so that there
are never more sets than threads that compute at the same time.
"""

import threading
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

PIECE_ENTRIES: Final = 1 << 20
"""Entries of one piece: enough that each call on it takes longer than waking a thread (see threads.py)."""

_Set: TypeAlias = dict[tuple[str, np.dtype[Any]], npt.NDArray[Any]]
"""Buffers by purpose and dtype, a piece each; they are never freed."""


class _Mine(threading.local):
    """The set of this thread; None while it computes nothing."""

    buffers: _Set | None = None


_mine = _Mine()
_spare: list[_Set] = []
"""Sets that no thread has now. append and pop are atomic under the interpreter's lock."""


def buffer(purpose: str, dtype: npt.DTypeLike, entries: int) -> npt.NDArray[Any]:
    """Return this thread's array of `entries` entries for a purpose. Its content is undefined.

    An array longer than a piece is fresh each time.
    """
    if entries > PIECE_ENTRIES:
        return np.empty(entries, dtype)
    if _mine.buffers is None:
        _mine.buffers = _take()
    key = (purpose, np.dtype(dtype))
    array = _mine.buffers.get(key)
    if array is None:
        array = _mine.buffers[key] = np.empty(PIECE_ENTRIES, dtype)
    return array[:entries]


def give_back() -> None:
    """Lend this thread's buffers to others: between two pieces, when it will compute nothing for a while."""
    if _mine.buffers is not None:
        _spare.append(_mine.buffers)
        _mine.buffers = None


def _take() -> _Set:
    try:
        return _spare.pop()
    except IndexError:
        return {}
