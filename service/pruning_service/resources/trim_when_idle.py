"""What calls have freed goes back to the system while the server rests.

The C library keeps freed memory for the next call, which is right under load: fresh memory costs more than arithmetic.
But messages of many calls lie side by side, and what a crowd of them has left behind would be this process's for
good: nobody else's on the machine, and in the way when somebody asks where the memory has gone.
"""

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Sized
from pathlib import Path
from typing import Final

from pruning_proto.limits import MIB
from pruning_service.resources import allocator

EVERY_SECONDS: Final = 2.0

WORTH_BYTES: Final = 8 * MIB
"""Grown by less than that, the process is left alone."""

_STATM: Final = Path("/proc/self/statm")


@contextlib.asynccontextmanager
async def trim_when_idle(calls: Sized) -> AsyncIterator[None]:
    """Give free memory back whenever the process has grown and none of `calls` is under way; on Linux alone."""
    giving = asyncio.create_task(_give_back(calls)) if _STATM.exists() else None
    try:
        yield
    finally:
        if giving is not None:
            giving.cancel()


async def _give_back(calls: Sized) -> None:
    settled_bytes = _resident_bytes()
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        if not calls and _resident_bytes() > settled_bytes + WORTH_BYTES:
            gc.collect()  # first: what stands in circles is not free
            await asyncio.to_thread(allocator.give_back)
            settled_bytes = _resident_bytes()


def _resident_bytes() -> int:
    """Source: proc(5), statm: the second number, in pages."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
