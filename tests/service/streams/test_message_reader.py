"""Messages are received when they are asked for; of small models ahead of that."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pruning_service.streams.message_reader import MessageReader
from pruning_service.streams.signal import Signal


class Messages(AsyncIterator[bytes]):
    """Three messages; `asked` counts how often one was asked for. The first waits for `begin`, the last fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.begin = asyncio.Event()

    async def __anext__(self) -> bytes:
        self.asked += 1
        await self.begin.wait()
        if self.asked == 4:
            raise ConnectionError
        return bytes([self.asked])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("reads_ahead", "asked"), [(False, 1), (True, 2)], ids=["when asked for", "ahead"])
def test_messages_are_received(reads_ahead: bool, asked: int) -> None:
    async def run() -> int:
        messages = Messages()
        messages.begin.set()
        reader = MessageReader(messages)
        reader.reads_ahead = reads_ahead
        assert await reader.next(60) == b"\x01"
        await settle()
        return messages.asked

    assert asyncio.run(run()) == asked


def test_a_read_outlives_whoever_waited() -> None:
    async def run() -> tuple[bytes | None, int]:
        messages = Messages()
        reader = MessageReader(messages)
        with pytest.raises(TimeoutError):
            await reader.next(0.01)
        messages.begin.set()
        return await reader.next(60), messages.asked

    assert asyncio.run(run()) == (b"\x01", 1)


def test_what_receiving_raises_comes_after_the_messages() -> None:
    async def run() -> list[bytes | None]:
        messages = Messages()
        messages.begin.set()
        reader = MessageReader(messages)
        reader.reads_ahead = True
        received = [await reader.next(60) for _ in range(3)]
        with pytest.raises(ConnectionError):
            await reader.next(60)
        return received

    assert asyncio.run(run()) == [b"\x01", b"\x02", b"\x03"]


def test_a_signal_is_waited_for_no_longer_than_allowed() -> None:
    async def run() -> list[bool]:
        signal = Signal()
        early = await signal.wait(0.01)
        signal.set()
        late = await signal.wait(0.01)
        signal.clear()
        asyncio.get_running_loop().call_soon(signal.set)
        return [early, late, await signal.wait(60)]

    assert asyncio.run(run()) == [False, True, True]
