"""Threads of a pool end at rest; what they have begun they finish, and work that comes later has others."""

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

from pruning_service.resources.engine_worker import EngineWorker
from pruning_service.resources.thread_pool import ThreadPool

SECONDS = 60


def threads_of(name: str) -> Sequence[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_idle_threads_end_and_busy_ones_finish() -> None:
    pool, free, began = ThreadPool(2, "tried-pool"), threading.Event(), threading.Event()

    def hold() -> bool:
        began.set()
        return free.wait(SECONDS)

    held = pool.submit(hold, threading.Event())
    assert began.wait(SECONDS)
    queued = [pool.submit(partial(int, number), threading.Event()) for number in range(5)]
    pool.end_idle_threads()
    first = threads_of("tried-pool")
    assert pool.submit(lambda: "later", threading.Event()).result(SECONDS) == "later"
    free.set()

    assert held.result(SECONDS)
    assert [each.result(SECONDS) for each in queued] == list(range(5))
    for thread in first:
        thread.join(SECONDS)
        assert not thread.is_alive()
    pool.close()
    assert not threads_of("tried-pool")


def test_engine_works_on_after_its_idle_threads_have_ended() -> None:
    async def rest() -> None:
        worker = EngineWorker("cpu")
        assert await worker.run(lambda: 1) == 1
        (thread,) = threads_of("worker-cpu")
        worker.end_idle_threads()
        await asyncio.to_thread(thread.join, SECONDS)
        assert not thread.is_alive()
        assert await worker.run(lambda: 2) == 2
        worker.close()

    asyncio.run(rest())
