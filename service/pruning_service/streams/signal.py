"""A flag that one task sets and another waits for, with a time limit, in one future and one timer.

A small call waits a dozen times: `asyncio.wait`, or an Event within `asyncio.timeout`, takes several times as long.
"""

import asyncio


class Signal:
    """A flag. At most one task waits for it at a time."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[bool] | None = None

    def set(self) -> None:
        """Set it, and wake whoever waits."""
        self._is_set = True
        if self._waiting is not None:
            _wake(self._waiting, True)

    def clear(self) -> None:
        """Clear it."""
        self._is_set = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Return whether it is set within `seconds`; None: wait for as long as it takes."""
        if self._is_set:
            return True
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting = waiting
        timer = None if seconds is None else loop.call_later(seconds, _wake, waiting, False)
        try:
            return await waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()


def _wake(waiting: "asyncio.Future[bool]", is_set: bool) -> None:
    if not waiting.done():  # it may have been cancelled, or woken, in the same moment
        waiting.set_result(is_set)
