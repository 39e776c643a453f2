"""Garbage collection of a short process: not while it imports, and not at its end.

Importing creates many objects and no garbage. Searching them for cycles takes a sixth of the time of a small run.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing inside the block, and leave what it has created out of all later collections."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_all() -> None:
    """Leave all objects out of the collection at the end of the process."""
    gc.freeze()
