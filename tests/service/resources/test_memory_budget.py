"""The byte budget: first come, first served, and never more than there is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pruning_proto.reasons import Reason
from pruning_service.resources.memory_budget import Budget, Reservation
from pruning_service.status import Refusal


@asynccontextmanager
async def reserved(budget: Budget, wanted_bytes: int) -> AsyncIterator[Reservation]:
    with budget.reservation() as reservation:
        await reservation.grow(wanted_bytes)
        yield reservation


def test_bytes_are_held_inside_and_given_back() -> None:
    async def scenario() -> list[int]:
        budget = Budget(100, queue_seconds=1)
        seen = []
        async with reserved(budget, 60):
            seen.append(budget.reserved_bytes)
        return [*seen, budget.reserved_bytes]

    assert asyncio.run(scenario()) == [60, 0]


def test_what_can_never_fit_is_refused_at_once() -> None:
    async def scenario() -> None:
        async with reserved(Budget(100, queue_seconds=60), 101):
            pass

    with pytest.raises(Refusal) as caught:
        asyncio.run(scenario())
    assert caught.value.reason is Reason.MODEL_TOO_LARGE
    assert caught.value.retry_seconds is None


def test_what_does_not_fit_now_is_refused_with_a_time_to_retry() -> None:
    async def scenario() -> int:
        budget = Budget(100, queue_seconds=0.01)
        async with reserved(budget, 60):
            with pytest.raises(Refusal) as caught:
                async with reserved(budget, 50):
                    pass
            assert caught.value.reason is Reason.NO_ROOM
            assert caught.value.retry_seconds is not None
        return budget.reserved_bytes

    assert asyncio.run(scenario()) == 0


async def hold(budget: Budget, wanted_bytes: int, name: str, order: list[str]) -> None:
    async with reserved(budget, wanted_bytes):
        order.append(name)
        await asyncio.sleep(0)


def test_nobody_passes_one_that_waits() -> None:
    async def scenario() -> list[str]:
        budget = Budget(100, queue_seconds=5)
        order: list[str] = []
        async with reserved(budget, 50):
            large = asyncio.create_task(hold(budget, 90, "large", order))
            await asyncio.sleep(0)
            small = asyncio.create_task(hold(budget, 10, "small", order))
            await asyncio.sleep(0.01)
            assert order == []
        await asyncio.gather(large, small)
        return order

    assert asyncio.run(scenario()) == ["large", "small"]


def test_one_who_gives_up_lets_the_next_in() -> None:
    async def scenario() -> list[str]:
        budget = Budget(100, queue_seconds=5)
        order: list[str] = []
        async with reserved(budget, 50):
            large = asyncio.create_task(hold(budget, 90, "large", order))
            await asyncio.sleep(0)
            small = asyncio.create_task(hold(budget, 10, "small", order))
            await asyncio.sleep(0)
            large.cancel()
            await asyncio.wait({large})
            await asyncio.wait_for(small, 20)
        assert budget.reserved_bytes == 0
        return order

    assert asyncio.run(scenario()) == ["small"]


def test_a_reservation_grows_and_holds_what_it_had_while_it_waits() -> None:
    async def scenario() -> list[int]:
        budget = Budget(100, queue_seconds=0.01)
        async with reserved(budget, 70), reserved(budget, 20) as small:
            with pytest.raises(Refusal):
                await small.grow(40)
            seen = [small.held_bytes, budget.reserved_bytes]
            await small.grow(30)
            await small.grow(10)  # it never shrinks
            return [*seen, small.held_bytes, budget.reserved_bytes]

    assert asyncio.run(scenario()) == [20, 90, 30, 100]
