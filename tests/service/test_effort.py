"""Small work goes its own way: on the event loop, or past large work that has its turn."""

import asyncio
import threading
from typing import Final

import pytest
import torch

from pruning_engine.plan import TensorSpec, make_plan
from pruning_engine.recipe import Channels, Fraction, Magnitude, NamedNorm, Recipe, Rule, Scope
from pruning_proto.layout import Layout, build, parse
from pruning_service.effort import Effort
from pruning_service.intake import Arrived
from pruning_service.worker import LIGHT_BYTES, SMALL_BYTES, Worker

TENSORS: Final = (("a.weight", "F32", (4, 4, 4)), ("b.weight", "F32", (4, 4, 4)))
"""Two tensors of 256 bytes."""

LOCAL: Final = Rule(score=Magnitude(), amount=Fraction(0.5))
GLOBAL: Final = Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
NUCLEAR: Final = Rule(score=Magnitude(NamedNorm.NUC), amount=Fraction(0.5), granularity=Channels(0))


def file() -> Layout:
    return parse(build(TENSORS, {})[0][8:])


@pytest.mark.parametrize(
    ("rules", "effort_bytes"),
    [((LOCAL,), 256), ((LOCAL, LOCAL), 512), ((GLOBAL,), 512), ((LOCAL, GLOBAL), 1024), ((NUCLEAR,), float("inf"))],
    ids=["local", "two rules", "global", "global after local", "nobody knows"],
)
def test_effort_is_what_a_parameter_sets_free(rules: tuple[Rule, ...], effort_bytes: float) -> None:
    plan = make_plan(Recipe(rules), [TensorSpec(*tensor) for tensor in TENSORS])
    entry = file().tensors[0]
    arrived = Arrived(plan.parameters[0], {entry.name: (entry, torch.empty(256, dtype=torch.uint8))})

    assert Effort(plan, file()).of(arrived) == effort_bytes


def thread_of(effort_bytes: float) -> threading.Thread:
    worker = Worker(torch.device("cpu"))
    try:
        return asyncio.run(worker.run(threading.current_thread, effort_bytes))
    finally:
        worker.close()


def test_light_work_is_done_on_the_event_loop() -> None:
    assert thread_of(LIGHT_BYTES) is threading.current_thread()


def test_work_that_is_not_light_is_done_in_a_thread() -> None:
    assert thread_of(LIGHT_BYTES + 1) is not threading.current_thread()


@pytest.mark.parametrize(
    ("effort_bytes", "passes"), [(SMALL_BYTES, True), (SMALL_BYTES + 1, False)], ids=["small", "large"]
)
def test_only_small_work_passes_large_work_that_has_its_turn(effort_bytes: float, *, passes: bool) -> None:
    async def is_done_meanwhile() -> bool:
        worker, may_end = Worker(torch.device("cpu")), threading.Event()
        large = asyncio.create_task(worker.run(may_end.wait))
        await asyncio.sleep(0.1)  # until it has its turn
        other = asyncio.create_task(worker.run(lambda: None, effort_bytes))
        done, _ = await asyncio.wait({other}, timeout=10 if passes else 0.5)
        may_end.set()
        await asyncio.gather(large, other)
        worker.close()
        return other in done

    assert asyncio.run(is_done_meanwhile()) == passes
