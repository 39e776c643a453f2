"""Work that would block an event loop: done in a thread, and always to its end.

Nothing can interrupt a thread. A task that is cancelled meanwhile waits for it, and is cancelled then: a file is
never closed during a write, nor left open.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def start(work: Callable[[], _Value]) -> "asyncio.Future[_Value]":
    """Begin work in a thread of the event loop's. Wait for it with `finished`, and never await it directly."""
    return asyncio.get_running_loop().run_in_executor(None, work)


async def in_thread(work: Callable[[], _Value]) -> _Value:
    """Do work in a thread."""
    return await finished(start(work))


async def finished(work: "asyncio.Future[_Value]") -> _Value:
    """Wait for work to end, whatever happens; return its value. Raises: what it raised; CancelledError, afterwards."""
    await settled(work)
    return work.result()


async def settled(*all_work: "asyncio.Future[Any] | None") -> None:
    """Wait for all work to end, whatever its outcome. Raises: CancelledError, afterwards."""
    cancelled: asyncio.CancelledError | None = None
    pending = {work for work in all_work if work is not None}
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
            pending = {work for work in pending if not work.done()}
    for work in all_work:
        if work is not None and not work.cancelled():
            work.exception()  # retrieved, so that asyncio does not log it
    if cancelled is not None:
        raise cancelled


@asynccontextmanager
async def entered(context: AbstractContextManager[_Value]) -> AsyncIterator[_Value]:
    """Enter and leave a context in threads. Once entered it is always left, also when the task is cancelled."""
    stack = ExitStack()
    try:
        yield await in_thread(lambda: stack.enter_context(context))
    except BaseException as error:
        failed = error
        if not await in_thread(lambda: stack.__exit__(type(failed), failed, failed.__traceback__)):
            raise
    else:
        await in_thread(stack.close)


def cancellations() -> int:
    """Return how often the running task was cancelled. A rise means: now; an earlier one may have been caught."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
