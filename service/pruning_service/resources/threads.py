"""Work that takes long, done in threads: off the event loop, and always to its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

Result = TypeVar("Result")

SMALL_BYTES: Final = 4096
"""A header of about 40 tensors: what is done for them takes no longer than a thread takes to wake up."""


async def run_in_thread_if_large(work: Callable[[], Result], described_bytes: int) -> Result:
    """Do `work` on a description of `described_bytes`: a header, options, or both. At once if that is small."""
    if described_bytes <= SMALL_BYTES:
        return work()
    return await finished(asyncio.get_running_loop().run_in_executor(None, work))


async def finished(job: asyncio.Future[Result], on_cancel: Callable[[], object] = lambda: None) -> Result:
    """Wait for the work of a thread. A caller that is cancelled still waits: until then the job's memory is in use.

    `on_cancel` asks the thread to stop, since its result is not wanted any more.
    """
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        on_cancel()
        while not job.done():
            with suppress(asyncio.CancelledError):  # however often
                await asyncio.wait({job})
        if not job.cancelled():
            job.exception()  # retrieved: asyncio logs every error that nobody retrieved
        raise
