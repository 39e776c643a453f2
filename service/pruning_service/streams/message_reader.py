"""The messages of a stream, received in one task that outlives whoever waits for them.

When a call fails while a message is awaited, the same read goes on for whoever reads next: gRPC allows one at a time,
and cancelling it would close its iterator, so that the call could not end in good order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import Final

from pruning_service.streams.signal import Signal

_MOST_HELD: Final = 2
"""Messages that are held when reading ahead: the whole of a small model, or the last of it and the end."""


class MessageReader:
    """Receives messages one at a time, each when it is asked for.

    Once `reads_ahead` is set, the next one is received while one is worked on. It is for models that are small as a
    whole: other messages would be memory that nobody has reserved.
    """

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        self.reads_ahead = False
        self._messages = messages
        self._received: deque[bytes] = deque()
        self._is_wanted = Signal()
        self._has_come = Signal()
        self._task: asyncio.Task[None] | None = None

    async def next(self, seconds: float) -> bytes | None:
        """Return the next message; None at the end. Raises: TimeoutError; whatever receiving it raises."""
        if not self._received and not await self._next_comes(seconds):
            return None
        return self._received.popleft()

    def close(self) -> None:
        """Receive no more, and keep nothing."""
        if self._task is not None:
            self._task.cancel()
        self._received.clear()

    async def _next_comes(self, seconds: float) -> bool:
        task = self._task = self._task or _started(self._receive())
        if not task.done():
            self._has_come.clear()
            self._is_wanted.set()
            if not await self._has_come.wait(seconds):
                raise TimeoutError
        if not self._received:
            await task  # it is about to end: there are no more, or it failed
        return bool(self._received)

    async def _receive(self) -> None:
        try:
            while True:
                if not (self.reads_ahead and len(self._received) < _MOST_HELD):
                    await self._is_wanted.wait()
                self._received.append(await self._messages.__anext__())
                self._is_wanted.clear()
                self._has_come.set()
        except StopAsyncIteration:
            return
        finally:
            self._has_come.set()


def _started(receiving: Coroutine[object, object, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(receiving)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved, also when nobody reads
    return task
