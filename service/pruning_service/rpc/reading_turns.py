"""Turns to read a message that anybody may send: few calls read at a time, because each may have 4 MiB of it.

gRPC lets a client send the whole of a message once it is asked for, and tells nobody how long it is. Until then, it
takes what the window allows. The message of an honest call comes with its metadata, so that its turn takes less than
a millisecond; a longer one ends when others wait. How long that is goes by wake-ups of the event loop as well as by
the clock: on a busy machine the loop may run again only when the time is over, with the message not taken yet.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

READING_CALLS: Final = 2
"""The most calls that read; gRPC and Python each have up to 4 MiB of a message."""

WAITING_CALLS: Final = 32
"""The most calls that wait for their turn; each may have a window of its message in memory."""

PATIENCE_SECONDS: Final = 0.005
"""How long a call may read, each time that it is looked at."""

LOOKS: Final = 4
"""How often a call is looked at before it makes way for others."""


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    peer: str
    number: int
    turn: "asyncio.Future[bool]"


class ReadingTurns:
    """Belongs to one event loop.

    The next is the newest call of the connection that has the fewest waiting, so that whoever opens many calls waits
    for these and not others for them. Of too many, the last by this order is sent away.
    """

    def __init__(self) -> None:
        self._free = READING_CALLS
        self._waiting: list[_Place] = []
        self._calls = 0

    @asynccontextmanager
    async def turn(self, peer: str, seconds: float) -> AsyncIterator[bool]:
        """Yield once the call of a peer may read: True, or False if it is sent away, or had no turn in `seconds`."""
        has_turn = await self._begun(peer, seconds)
        try:
            yield has_turn
        finally:
            if has_turn:
                self._end()

    async def wait(self, reading: "asyncio.Future[bytes | None]", end: float) -> bool:
        """Wait until a message has been read, or until `end`; return False if the call has to make way for others."""
        looks = 0
        while not reading.done() and (left := end - time.monotonic()) > 0:
            await asyncio.wait({reading}, timeout=min(left, PATIENCE_SECONDS))
            looks += 1
            if self._waiting and not reading.done() and looks >= LOOKS:
                return False
        return True

    async def _begun(self, peer: str, seconds: float) -> bool:
        if self._free:
            self._free -= 1
            return True
        self._calls += 1
        place = _Place(peer, self._calls, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        if len(self._waiting) > WAITING_CALLS:
            self._take(last=True).turn.set_result(False)
        try:
            await asyncio.wait({place.turn}, timeout=seconds)
        except asyncio.CancelledError:
            if self._leave(place):
                self._end()
            raise
        return self._leave(place)

    def _leave(self, place: _Place) -> bool:
        """Return whether a call has its turn; if it waits, it does no longer."""
        if place.turn.done():
            return place.turn.result()
        self._waiting.remove(place)
        return False

    def _end(self) -> None:
        if self._waiting:
            self._take(last=False).turn.set_result(True)
        else:
            self._free += 1

    def _take(self, *, last: bool) -> _Place:
        """Remove the first by the order, or the last."""
        calls = Counter(place.peer for place in self._waiting)
        choose = max if last else min
        place = choose(self._waiting, key=lambda each: (calls[each.peer], -each.number))
        self._waiting.remove(place)
        return place
