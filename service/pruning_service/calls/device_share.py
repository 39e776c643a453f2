"""What one call holds of the device's memory: reserved once its plan is known, and before the plan is sent."""

from contextlib import ExitStack
from functools import partial

from pruning_engine.planning.memory.device_memory import device_bytes
from pruning_service.calls.preparation import Prepared
from pruning_service.resources.memory_budget import Budget
from pruning_service.resources.threads import run_in_thread_if_large


class DeviceShare:
    """The reservation of one call. Without a budget the device has no memory of its own, and nothing is reserved."""

    def __init__(self, budget: Budget | None) -> None:
        self.needed_bytes = 0
        self._held = ExitStack()
        self._reservation = None if budget is None else self._held.enter_context(budget.reservation())

    async def measure(self, prepared: Prepared) -> None:
        """Find out what a plan needs."""
        if self._reservation is not None:
            work = partial(device_bytes, prepared.plan, prepared.file.tensors)
            self.needed_bytes = await run_in_thread_if_large(work, prepared.file.header_bytes)

    @property
    def fits(self) -> bool:
        """Whether what is needed can be held at some time."""
        return self._reservation is None or self._reservation.can_hold(self.needed_bytes)

    def check(self) -> None:
        """Refuse what can never be held. Raises: Refusal MODEL_TOO_LARGE."""
        if self._reservation is not None:
            self._reservation.check(self.needed_bytes)

    async def reserve(self) -> None:
        """Hold what is needed. Raises: Refusal MODEL_TOO_LARGE, NO_ROOM."""
        if self._reservation is not None:
            await self._reservation.grow(self.needed_bytes)

    def release(self) -> None:
        """Hold nothing any more."""
        self._held.close()
