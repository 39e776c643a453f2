"""Work that takes long, done in threads: off the event loop, and always to its end."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from pruning_engine.runtime.yield_points import yielding
from pruning_proto.reasons import Reason
from pruning_service.status import Refusal

Result = TypeVar("Result")

SMALL_BYTES: Final = 4096
"""A header of about 40 tensors: what is done for them takes no longer than a thread takes to wake up."""


THREADS: Final = 16
"""Descriptions that are worked on at the same time; more wait, first come, first served."""

WORK_SECONDS: Final = 60.0
"""How long planning may take: 100 rules for 100,000 tensors take a few seconds."""

_threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="planning")


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


async def run_in_thread_if_large(
    work: Callable[[], Result], described_bytes: int, most_seconds: float = WORK_SECONDS
) -> Result:
    """Do `work` on a description of `described_bytes`: a header, options, or both. At once if that is small.

    Work with yield points ends at the next one once its caller has been cancelled.
    Raises: Refusal after `most_seconds`, at the next yield point.
    """
    if described_bytes <= SMALL_BYTES:
        return work()
    abandoned = threading.Event()
    check = partial(_check, abandoned, time.monotonic() + most_seconds, most_seconds)
    job = _threads.submit(_run, work, check)
    return await finished(asyncio.wrap_future(job), on_cancel=abandoned.set)


def _run(work: Callable[[], Result], check: Callable[[], None]) -> Result:
    check()
    with yielding(check):
        return work()


def _check(abandoned: threading.Event, deadline: float, most_seconds: float) -> None:
    if abandoned.is_set():
        raise _AbandonedError
    if time.monotonic() > deadline:
        text = f"planning took more than {most_seconds:g} s; use fewer patterns, rules or groups, or a smaller file"
        raise Refusal(reason=Reason.INVALID_RECIPE, message=text)


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
