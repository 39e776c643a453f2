"""How this process's C allocator behaves, so that memory is where the reservations say it is.

Messages of 2 MiB are made and freed by several threads. glibc gives every thread an arena of its own, and each keeps
what it freed; with one arena the next message gets the memory of the last one, whichever thread made it.

The C library also keeps freed memory for the next call. Under load this is right: fresh memory costs more than
arithmetic. But after a burst of calls this process would keep their memory for good, so an idle server returns it.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from pruning_proto.limits import MIB

# Source: malloc.h of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

MAPPED_BYTES: Final = 16 * MIB
"""A block of at least this size is returned to the system as soon as it is freed: a large mask, never a message."""

SPARE_BYTES: Final = 16 * MIB
"""Free memory at the end of the heap that is kept for the next message."""

CHECK_SECONDS: Final = 2.0
"""How often an idle server looks at its size."""

WORTH_BYTES: Final = 8 * MIB
"""A process that has grown by less is left alone for a while."""

REST_SECONDS: Final = 30.0
"""How often free memory is returned at rest where the process has not grown: some may have become free since."""

_STATM: Final = Path("/proc/self/statm")


def configure_allocator() -> None:
    """Set glibc's allocator, before any thread starts; does nothing where there is another one."""
    with suppress(OSError, AttributeError):
        mallopt = _libc().mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)


def trim() -> None:
    """Return all free memory of the heap to the system. Cost: milliseconds, without the GIL."""
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


@cache
def _libc() -> ctypes.CDLL:
    """Return the C library. Raises: OSError where it cannot be opened."""
    return ctypes.CDLL(None)


@contextlib.asynccontextmanager
async def trim_when_idle(
    calls: Sized, rest_seconds: float = REST_SECONDS, *, before: Callable[[], object] = lambda: None
) -> AsyncIterator[None]:
    """Return free memory while none of `calls` is under way: when the process has grown, and every `rest_seconds`.

    `before` frees what need not be kept at rest. On Linux only.
    """
    trimming = asyncio.create_task(_trim_when_idle(calls, rest_seconds, before)) if _STATM.exists() else None
    try:
        yield
    finally:
        if trimming is not None:
            trimming.cancel()


async def _trim_when_idle(calls: Sized, rest_seconds: float, before: Callable[[], object]) -> None:
    settled_bytes, trimmed_at = _resident_bytes(), time.monotonic()
    while True:
        await asyncio.sleep(min(CHECK_SECONDS, rest_seconds))
        with suppress(OSError, RuntimeError):  # no file descriptor or thread is left now: the next time
            has_grown = _resident_bytes() > settled_bytes + WORTH_BYTES
            if calls or not (has_grown or time.monotonic() - trimmed_at >= rest_seconds):
                continue
            before()
            _forget_names()
            if has_grown:
                gc.collect()  # first: what is in cycles is not free
            await asyncio.to_thread(trim)
            settled_bytes, trimmed_at = _resident_bytes(), time.monotonic()


def _forget_names() -> None:
    """Clear CPython's cache of types' attributes. Cost: microseconds; it fills again.

    It keeps the last 4096 strings by which attributes were asked for. Many are made for one lookup, by numpy and
    protobuf among others; each lies between what a call allocated, and keeps a page of the heap.
    """
    before_3_13 = getattr(sys, "_clear_type_cache", None)
    clear = getattr(sys, "_clear_internal_caches", before_3_13)
    if clear is not None:
        clear()


def _resident_bytes() -> int:
    """Source: proc(5), statm: the second number, in pages."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
