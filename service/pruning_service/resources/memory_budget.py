"""The memory budgets: the bytes that the server holds of all models together, reserved before they are received.

One is of the host's memory; a server with a GPU has a second one, of the device's. A call reserves in this order, so
that no two calls wait for each other.

First come, first served: a call that does not fit waits, and no other call passes it, so that small models do not
starve a large one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a budget is of, in the words of its refusals, and the setting that says how much there is."""

    memory: str
    setting: str


OF_HOST: Final = Kind(memory="memory", setting="PRUNING_MEMORY_BYTES")
OF_DEVICE: Final = Kind(memory="device memory", setting="PRUNING_DEVICE_MEMORY_BYTES")


class Budget:
    """A number of bytes that calls share. Belongs to one event loop. `hint`: ends the refusal of what can never fit."""

    def __init__(self, total_bytes: int, queue_seconds: float, hint: str = "", kind: Kind = OF_HOST) -> None:
        self.total_bytes = total_bytes
        self.hint = hint
        self.kind = kind
        self.reserved_bytes = 0
        self._queue_seconds = queue_seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many calls wait for bytes."""
        return len(self._waiting)

    @contextmanager
    def reservation(self) -> Iterator["Reservation"]:
        """Yield a reservation of nothing, to grow; it is released at the end."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.reserved_bytes -= reservation.held_bytes
            self._admit()

    async def enter(self, wanted_bytes: int, on_top_of: int) -> None:
        """Wait for bytes behind all that wait already. For `Reservation` alone; raises what its `grow` raises."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (wanted_bytes, turn)
        self._waiting.append(place)
        self._admit()
        if turn.done():
            return
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._queue_seconds)
        except TimeoutError:
            self._leave(place)
            raise self._no_room(wanted_bytes + on_top_of) from None
        except asyncio.CancelledError:
            self._leave(place)
            raise

    def _admit(self) -> None:
        while self._waiting and self.reserved_bytes + self._waiting[0][0] <= self.total_bytes:
            wanted_bytes, turn = self._waiting.popleft()
            self.reserved_bytes += wanted_bytes
            turn.set_result(None)

    def _leave(self, place: tuple[int, asyncio.Future[None]]) -> None:
        """Leave the queue, or release the bytes if they were granted in the same moment."""
        wanted_bytes, turn = place
        if turn.done():
            self.reserved_bytes -= wanted_bytes
        else:
            self._waiting.remove(place)
        self._admit()

    def _no_room(self, wanted_bytes: int) -> Refusal:
        return Refusal(
            reason=Reason.NO_ROOM,
            message=f"the call needs {wanted_bytes:,} bytes of {self.kind.memory} and waited "
            f"{self._queue_seconds:g} s for them: {self.reserved_bytes:,} of "
            f"{self.total_bytes:,} are in use; try again later",
            metadata={"needed_bytes": str(wanted_bytes), "budget_bytes": str(self.total_bytes)},
            retry_seconds=max(1.0, self._queue_seconds / 2),
        )


class Reservation:
    """What one call holds of a budget: `held_bytes`, of which `kept_bytes` are for its options."""

    def __init__(self, budget: Budget) -> None:
        self.held_bytes = 0
        self.kept_bytes = 0
        self._budget = budget

    async def keep(self, kept_bytes: int) -> None:
        """Hold `kept_bytes` until the end, beside whatever `grow` asks for. Raises: what `grow` raises."""
        self.kept_bytes += kept_bytes
        await self.grow(0)

    def can_hold(self, to_bytes: int) -> bool:
        """Whether `to_bytes` and what is kept can be held at some time."""
        return to_bytes + self.kept_bytes <= self._budget.total_bytes

    def check(self, to_bytes: int) -> None:
        """Refuse what can never be held. Raises: Refusal MODEL_TOO_LARGE."""
        if self.can_hold(to_bytes):
            return
        budget, needed_bytes = self._budget, to_bytes + self.kept_bytes
        raise Refusal(
            reason=Reason.MODEL_TOO_LARGE,
            message=f"the call needs {needed_bytes:,} bytes of {budget.kind.memory}, and the server may hold "
            f"{budget.total_bytes:,} ({budget.kind.setting}); rules of local scope need less than global ones"
            f"{budget.hint}",
            metadata={"needed_bytes": str(needed_bytes), "budget_bytes": str(budget.total_bytes)},
        )

    async def grow(self, to_bytes: int) -> None:
        """Hold `to_bytes` and what is kept; what is held already stays reserved, also while waiting for more.

        Raises: Refusal MODEL_TOO_LARGE if they can never fit, NO_ROOM if they did not in `queue_seconds`.
        """
        self.check(to_bytes)
        to_bytes += self.kept_bytes
        if to_bytes > self.held_bytes:
            await self._budget.enter(to_bytes - self.held_bytes, on_top_of=self.held_bytes)
            self.held_bytes = to_bytes
