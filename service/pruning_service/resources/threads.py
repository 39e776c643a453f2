"""Work that takes long, done in threads: off the event loop, and always to its end.

It is Python, of which one thread runs at a time. So the threads take turns: sixteen that all wanted to run would keep
the event loop waiting for seconds, since Python hands its lock to any of them. Small work does not wait for large one.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar, cast

from pruning_engine.runtime.yield_points import yielding
from pruning_proto.reasons import Reason
from pruning_service.resources.thread_pool import ThreadPool
from pruning_service.resources.turns import Turns
from pruning_service.status import Refusal

Result = TypeVar("Result")

SMALL_BYTES: Final = 4096
"""A header of about 40 tensors: what is done for them takes no longer than a thread takes to wake up."""


FEW_BYTES: Final = 64 * 1024
"""A description up to this length is worked on in milliseconds."""

THREADS: Final = 16
"""Descriptions, small and large ones each, that are worked on in turns; more wait, first come, first served."""

WORK_SECONDS: Final = 60.0
"""How much of a core planning may take, whatever others do: 100 rules for 100,000 tensors take a few seconds."""


class _Lane:
    """Threads that take turns."""

    def __init__(self, name: str) -> None:
        self.threads = ThreadPool(THREADS, name)
        self.turns = Turns()


_SMALL: Final = _Lane("planning-small")
_LARGE: Final = _Lane("planning")


class _AbandonedError(Exception):
    """Nobody waits for the result any more."""


async def run_in_thread_if_large(
    work: Callable[[], Result], described_bytes: int, most_seconds: float = WORK_SECONDS
) -> Result:
    """Do `work` on a description of `described_bytes`: a header, options, or both. At once if that is small.

    Work with yield points hands its turn on at each of them, and ends there once its caller has been cancelled.
    Raises: Refusal when it has taken `most_seconds` of a core, at the next yield point.
    """
    if described_bytes <= SMALL_BYTES:
        return work()
    abandoned = threading.Event()
    lane = _SMALL if described_bytes <= FEW_BYTES else _LARGE
    job = lane.threads.submit(partial(_run, work, lane.turns, abandoned, most_seconds), abandoned)
    result = await finished(asyncio.wrap_future(job), on_cancel=abandoned.set)
    return cast("Result", result)  # it is waited for


def end_idle_planning_threads() -> None:
    """Have the threads of planning end, each once it has nothing to do."""
    for lane in (_SMALL, _LARGE):
        lane.threads.end_idle_threads()


def _run(work: Callable[[], Result], turns: Turns, abandoned: threading.Event, most_seconds: float) -> Result | None:
    """Return the result; None if nobody waits for it, for an error would keep all that the work had."""
    turns.take()
    try:
        check = partial(_check, abandoned, time.thread_time() + most_seconds, most_seconds)
        check()
        with yielding(partial(_pause, turns, check)):
            return work()
    except _AbandonedError:
        return None
    finally:
        turns.release()


def _pause(turns: Turns, check: Callable[[], None]) -> None:
    if turns.is_wanted:
        turns.pass_on()
    check()


def _check(abandoned: threading.Event, deadline: float, most_seconds: float) -> None:
    if abandoned.is_set():
        raise _AbandonedError
    if time.thread_time() > deadline:
        text = f"planning took more than {most_seconds:g} s of a core; use fewer patterns, rules or groups"
        raise Refusal(reason=Reason.INVALID_RECIPE, message=f"{text}, or a smaller file")


async def wait_for_disk(work: Callable[[], Result], size: int) -> Result:
    """Do `work` that reads or writes `size` bytes of a file, in a thread unless that is little. Raises: OSError."""
    if size <= FEW_BYTES:
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
