"""Memory for a checkpoint: one block of just its size."""

import mmap
from contextlib import suppress
from typing import Final

_HUGE_PAGES: Final = getattr(mmap, "MADV_HUGEPAGE", None)


def allocate(size: int) -> memoryview:
    """Return memory that is not touched yet, and is released with the last view of it.

    Touching memory for the first time costs more than the copy into it; in pages of 2 MiB, where the kernel has them,
    a fraction of that.
    """
    if size == 0:
        return memoryview(bytearray())
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if _HUGE_PAGES is not None:
        with suppress(OSError):  # a kernel without them
            block.madvise(_HUGE_PAGES)
    return memoryview(block)
