"""What takes long, done in threads: off the event loop, and always to its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

Result = TypeVar("Result")

SMALL_BYTES: Final = 4096
"""Of a header about 40 tensors: what is to be done for them takes no longer than a thread takes to wake up."""


async def run_in_thread_if_large(work: Callable[[], Result], described_bytes: int) -> Result:
    """Do `work` on a description of so many bytes: a header, options, or both. At once if it is small."""
    if described_bytes <= SMALL_BYTES:
        return work()
    return await finished(asyncio.get_running_loop().run_in_executor(None, work))


async def finished(job: asyncio.Future[Result], give_up: Callable[[], object] = lambda: None) -> Result:
    """Wait for what a thread does. Whoever is cancelled meanwhile waits on: until then the job's memory is in use.

    `give_up` tells the thread that its result is not wanted any more.
    """
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        give_up()
        while not job.done():
            with suppress(asyncio.CancelledError):  # however often
                await asyncio.wait({job})
        if not job.cancelled():
            job.exception()  # looked at: asyncio logs the error of each that nobody looked at
        raise
