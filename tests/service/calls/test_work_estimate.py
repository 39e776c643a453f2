"""Small work does not wait for large work: it runs on the event loop, or in turns of its own."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Final

import pytest

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    ChannelGroup,
    Channels,
    ChannelSlice,
    Fraction,
    Magnitude,
    NamedNorm,
    Recipe,
    Rule,
    Scope,
    Units,
)
from pruning_engine.updates.swaps import Swaps
from pruning_proto.safetensors.header import Layout, build, parse
from pruning_service.calls.work_estimate import TENSOR_BYTES, WorkEstimate
from pruning_service.resources.engine_worker import LIGHT_BYTES, SMALL_BYTES, EngineWorker

TENSORS: Final = (("a.weight", "F32", (4, 4, 4)), ("b.weight", "F32", (4, 4, 4)))
"""Two tensors of 256 bytes."""

ONE: Final = 256 + TENSOR_BYTES

LOCAL: Final = Rule(score=Magnitude(), amount=Fraction(0.5))
GLOBAL: Final = Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
NUCLEAR: Final = Rule(score=Magnitude(NamedNorm.NUC), amount=Fraction(0.5), granularity=Channels(0))


def file(tensors: Iterable[tuple[str, str, tuple[int, ...]]] = TENSORS) -> Layout:
    return parse(build(tensors, {})[0][8:])


@pytest.mark.parametrize(
    ("rules", "efforts"),
    [
        ((LOCAL,), [ONE, ONE]),
        ((LOCAL, LOCAL), [2 * ONE, 2 * ONE]),
        ((GLOBAL,), [ONE, 2 * ONE]),
        ((LOCAL, GLOBAL), [2 * ONE, 4 * ONE]),
        ((NUCLEAR,), [inf, inf]),
    ],
    ids=["local", "two rules", "global", "global after local", "nobody knows"],
)
def test_effort_is_what_a_parameter_sets_free(rules: tuple[Rule, ...], efforts: list[float]) -> None:
    plan = make_plan(Recipe(rules), [TensorSpec(*tensor) for tensor in TENSORS])
    effort = WorkEstimate(plan, file())
    arrivals = [
        ReceivedParameter(planned, {entry.name: Buffer.from_bytes(bytes(256), entry.dtype, entry.shape)})
        for planned, entry in zip(plan.parameters, file().tensors, strict=True)
    ]

    assert [effort.take_cost(arrived) for arrived in arrivals] == efforts


def test_effort_of_solving_equations_is_unknown() -> None:
    plan = make_plan(Recipe((LOCAL,)), [TensorSpec(*tensor) for tensor in TENSORS])
    solving = replace(plan, recipe=Recipe((replace(LOCAL, swaps=Swaps()),)))
    received = ReceivedParameter(plan.parameters[0], {"a.weight": Buffer.from_bytes(bytes(256), "F32", (4, 4, 4))})

    assert WorkEstimate(plan, file()).is_light
    assert not WorkEstimate(solving, file()).is_light
    assert WorkEstimate(solving, file()).take_cost(received) == inf


def test_many_tensors_are_no_light_work_however_small() -> None:
    layout = file((f"{index}.weight", "F32", (1, 0)) for index in range(LIGHT_BYTES // TENSOR_BYTES + 1))
    plan = make_plan(Recipe((LOCAL,)), [TensorSpec(entry.name, entry.dtype, entry.shape) for entry in layout.tensors])

    assert not WorkEstimate(plan, layout).is_light


def thread_of(effort_bytes: float) -> threading.Thread:
    worker = EngineWorker("cpu")
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
        worker, has_begun, may_end = EngineWorker("cpu"), threading.Event(), threading.Event()

        def hold() -> None:
            has_begun.set()
            may_end.wait()

        large = asyncio.create_task(worker.run(hold))
        await asyncio.to_thread(has_begun.wait)
        other = asyncio.create_task(worker.run(lambda: None, effort_bytes))
        done, _ = await asyncio.wait({other}, timeout=60 if passes else 0.5)
        may_end.set()
        await asyncio.gather(large, other)
        worker.close()
        return other in done

    assert asyncio.run(is_done_meanwhile()) == passes


def test_many_groups_are_no_light_work_however_few_tensors() -> None:
    groups = tuple(ChannelGroup(ties=(ChannelSlice("a.weight", offset=at),), units=1) for at in range(64))
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), granularity=Units(groups=groups))
    layout = file([("a.weight", "F32", (64, 1))])
    plan = make_plan(Recipe((rule,)), [TensorSpec("a.weight", "F32", (64, 1))])

    assert not WorkEstimate(plan, layout).is_light
    assert WorkEstimate(make_plan(Recipe((LOCAL,)), plan_tensors(layout)), layout).is_light


def plan_tensors(layout: Layout) -> list[TensorSpec]:
    return [TensorSpec(entry.name, entry.dtype, entry.shape) for entry in layout.tensors]
