"""Planning runs in threads of its own, and ends when its caller leaves or its time is over."""

import asyncio
import itertools
import threading
import time
from functools import partial

import pytest

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import ChannelGroup, ChannelSlice, Fraction, Magnitude, Recipe, Rule, Selector, Units
from pruning_engine.runtime.yield_points import with_yields, yielding
from pruning_service.resources.threads import (
    FEW_BYTES,
    SMALL_BYTES,
    THREADS,
    end_idle_planning_threads,
    run_in_thread_if_large,
)
from pruning_service.status import Refusal

LARGE = SMALL_BYTES + 1


def work_without_end(began: threading.Event, ended: threading.Event) -> None:
    try:
        for _ in with_yields(itertools.count(), 1):
            began.set()
            time.sleep(0.001)
    finally:
        ended.set()


def test_work_ends_when_its_caller_has_left() -> None:
    began, ended = threading.Event(), threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(run_in_thread_if_large(lambda: work_without_end(began, ended), LARGE))
        await asyncio.to_thread(began.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert ended.is_set()


def test_work_beyond_its_time_is_refused() -> None:
    work = run_in_thread_if_large(lambda: work_without_end(threading.Event(), threading.Event()), LARGE, 0.05)
    with pytest.raises(Refusal, match="planning took more than 0"):
        asyncio.run(work)


def test_one_work_computes_at_a_time() -> None:
    computing: set[int] = set()

    def work(number: int) -> int:
        for _ in with_yields(range(5), 1):
            computing.add(number)
            time.sleep(0.002)
            assert computing == {number}
            computing.discard(number)
        return number

    async def together() -> list[int]:
        works = [run_in_thread_if_large(partial(work, number), FEW_BYTES + 1) for number in range(THREADS)]
        return await asyncio.gather(*works)

    assert asyncio.run(together()) == list(range(THREADS))


def test_small_work_does_not_wait_for_large_work() -> None:
    began, free = threading.Event(), threading.Event()

    def hold() -> bool:
        began.set()
        return free.wait(60)

    async def both() -> int:
        large = asyncio.create_task(run_in_thread_if_large(hold, FEW_BYTES + 1))
        await asyncio.to_thread(began.wait, 60)
        found = await run_in_thread_if_large(lambda: 1, LARGE)
        free.set()
        assert await large
        return found

    assert asyncio.run(both()) == 1


def planning_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("planning")]


def test_idle_threads_end_at_rest_and_work_goes_on() -> None:
    began, free = threading.Event(), threading.Event()

    def hold() -> bool:
        began.set()
        return free.wait(60)

    async def rest() -> None:
        under_way = asyncio.create_task(run_in_thread_if_large(hold, FEW_BYTES + 1))
        await asyncio.to_thread(began.wait, 60)
        assert await run_in_thread_if_large(lambda: 1, LARGE) == 1
        before = planning_threads()
        end_idle_planning_threads()
        while len(still := [thread for thread in before if thread.is_alive()]) > 1:
            await asyncio.sleep(0.01)  # but for the one that has not done its work
        assert await run_in_thread_if_large(lambda: 2, LARGE) == 2
        free.set()
        assert await under_way
        await asyncio.to_thread(still[0].join, 60)
        assert not still[0].is_alive()

    asyncio.run(asyncio.wait_for(rest(), 120))


class StoppedError(Exception):
    """Ends a plan at its first yield."""


def stop() -> None:
    raise StoppedError


GLOBS = Rule(score=Magnitude(), amount=Fraction(0.5), select=Selector(include=("*a*",)))
COUPLED = Rule(
    score=Magnitude(), amount=Fraction(0.5), granularity=Units(groups=(ChannelGroup(ties=(ChannelSlice("a.0"),)),))
)


@pytest.mark.parametrize("rule", [GLOBS, COUPLED], ids=["names", "groups"])
def test_plan_has_yield_points(rule: Rule) -> None:
    tensors = [TensorSpec(f"a.{number}", "F32", (2, 2)) for number in range(300)]
    with yielding(stop), pytest.raises(StoppedError):
        make_plan(Recipe((rule,)), tensors)
