"""The messages of a call, none of which is kept once it has been taken."""

from collections.abc import AsyncIterator
from typing import Any

import grpc


class ReceivedMessages(AsyncIterator[bytes]):
    """Reads the messages of a streaming call, as bytes.

    gRPC's own iterator is a generator that holds the message it yielded last. It is freed with the call's exceptions,
    by a garbage collection, long after the call: up to 4 MiB each.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    async def __anext__(self) -> bytes:
        """Return the next message; the end is that of the client's half."""
        message: Any = await self._context.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        received: bytes = message
        return received
