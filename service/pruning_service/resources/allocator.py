"""How this process's C allocator behaves, so that memory is where the reservations say it is.

Messages of 2 MiB are made and freed by several threads. glibc gives every thread an arena of its own, and
each keeps what it freed; one arena for all serves the next message with the memory of the last one, whoever made it.
"""

import ctypes
from contextlib import suppress
from typing import Final

from pruning_proto.limits import MIB

# Source: malloc.h of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

MAPPED_BYTES: Final = 16 * MIB
"""What is at least so large goes back to the system as soon as it is freed: masks of large tensors, never messages."""

SPARE_BYTES: Final = 16 * MIB
"""Free memory at the end of the heap that is kept for the next message."""


def configure() -> None:
    """Set glibc's allocator; does nothing where there is another one. Before any thread begins."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)


def give_back() -> None:
    """Give the system all memory that is free, wherever in the heap it lies. Cost: milliseconds, off the GIL."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
