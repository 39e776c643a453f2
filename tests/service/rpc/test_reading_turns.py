"""Turns to read a message that anybody may send: in which order calls have them, and who is sent away."""

import asyncio

from pruning_service.rpc.reading_turns import READING_CALLS, WAITING_CALLS, ReadingTurns

SECONDS = 30.0


async def served(peers: list[str], seconds: float = SECONDS) -> list[tuple[str, bool]]:
    """Return the calls in the order in which they had their turn, or were sent away, while others read."""
    turns, over, order = ReadingTurns(), asyncio.Event(), list[tuple[str, bool]]()

    async def read() -> None:
        async with turns.turn("reader", SECONDS):
            await over.wait()

    async def call(number: int, peer: str) -> None:
        async with turns.turn(peer, seconds) as has_turn:
            order.append((f"{peer}{number}", has_turn))
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(READING_CALLS)]
    await asyncio.sleep(0)
    calls = [asyncio.create_task(call(number, peer)) for number, peer in enumerate(peers)]
    await asyncio.wait(calls, timeout=0.1)
    over.set()
    await asyncio.gather(*readers, *calls)
    return order


def test_connection_with_fewest_calls_has_its_turn_first() -> None:
    order = [name for name, _ in asyncio.run(served(["b", "a", "a", "a"]))]
    assert order[0] == "b0"


def test_newest_call_of_a_connection_has_its_turn_first() -> None:
    assert [name for name, _ in asyncio.run(served(["a", "a", "a", "a"]))][:2] == ["a3", "a2"]


def test_too_many_calls_send_the_connection_with_most_away() -> None:
    order = asyncio.run(served(["b", *["a"] * WAITING_CALLS]))
    assert [name for name, has_turn in order if not has_turn] == ["a1"]


def test_call_without_a_turn_in_time_is_sent_away() -> None:
    assert asyncio.run(served(["a"], seconds=0.01)) == [("a0", False)]


def test_call_that_reads_makes_way_only_for_others() -> None:
    async def has_time() -> list[bool]:
        turns, loop = ReadingTurns(), asyncio.get_running_loop()
        never: asyncio.Future[bytes | None] = loop.create_future()
        alone = await turns.wait(never, loop.time() + 0.02)
        begun = [turns.turn("a", SECONDS) for _ in range(READING_CALLS + 1)]
        readers = [asyncio.create_task(turn.__aenter__()) for turn in begun]
        await asyncio.sleep(0)
        crowded = await turns.wait(never, loop.time() + SECONDS)
        for reader in readers:
            reader.cancel()
        return [alone, crowded]

    assert asyncio.run(has_time()) == [True, False]
