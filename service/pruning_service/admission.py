"""The byte budget: what the server holds of all models together, reserved before it is received.

First come, first served: a call that does not fit waits, and nobody passes it, so that a large model is not
starved by small ones.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal


class Budget:
    """A number of bytes that calls share. Belongs to one event loop."""

    def __init__(self, total_bytes: int, queue_seconds: float) -> None:
        self.total_bytes = total_bytes
        self.reserved_bytes = 0
        self._queue_seconds = queue_seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, wanted_bytes: int) -> AsyncIterator[None]:
        """Hold `wanted_bytes` while inside.

        Raises: Refusal MODEL_TOO_LARGE if they can never fit, NO_ROOM if they did not in `queue_seconds`.
        """
        if wanted_bytes > self.total_bytes:
            raise Refusal(
                reason=Reason.MODEL_TOO_LARGE,
                message=f"the call needs {wanted_bytes:,} bytes of memory, the server may hold {self.total_bytes:,} "
                "(PRUNING_MEMORY_BYTES); rules of local scope need less than those of global scope",
                metadata={"needed_bytes": str(wanted_bytes), "budget_bytes": str(self.total_bytes)},
            )
        await self._enter(wanted_bytes)
        try:
            yield
        finally:
            self.reserved_bytes -= wanted_bytes
            self._admit()

    async def _enter(self, wanted_bytes: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (wanted_bytes, turn)
        self._waiting.append(place)
        self._admit()
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._queue_seconds)
        except TimeoutError:
            self._leave(place)
            raise self._no_room(wanted_bytes) from None
        except asyncio.CancelledError:
            self._leave(place)
            raise

    def _admit(self) -> None:
        while self._waiting and self.reserved_bytes + self._waiting[0][0] <= self.total_bytes:
            wanted_bytes, turn = self._waiting.popleft()
            self.reserved_bytes += wanted_bytes
            turn.set_result(None)

    def _leave(self, place: tuple[int, asyncio.Future[None]]) -> None:
        """Give up a place in the queue, or the bytes if they were granted in the same moment."""
        wanted_bytes, turn = place
        if turn.done():
            self.reserved_bytes -= wanted_bytes
        else:
            self._waiting.remove(place)
        self._admit()

    def _no_room(self, wanted_bytes: int) -> Refusal:
        return Refusal(
            reason=Reason.NO_ROOM,
            message=f"the call needs {wanted_bytes:,} bytes of memory and waited {self._queue_seconds:g} s for them: "
            f"{self.reserved_bytes:,} of {self.total_bytes:,} are in use; try again later",
            metadata={"needed_bytes": str(wanted_bytes), "budget_bytes": str(self.total_bytes)},
            retry_seconds=max(1.0, self._queue_seconds / 2),
        )
