"""What takes long where a model has many tensors: off the event loop, but at once where it has few."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

SMALL_HEADER_BYTES: Final = 4096
"""About 40 tensors: what is to be done for them takes no longer than four threads take to wake up."""


async def worked_out(work: Callable[[], Result], header_bytes: int) -> Result:
    """Do `work` for a file with a header of so many bytes."""
    return work() if header_bytes <= SMALL_HEADER_BYTES else await asyncio.to_thread(work)
