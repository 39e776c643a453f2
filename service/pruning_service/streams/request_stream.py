"""The client's messages, one at a time, in the order that the contract allows.

A read outlives its caller: when a call fails while a message is awaited, the same read goes on in `discard`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import PruneOptions
from pruning_service.deadlines import FIRST_MESSAGE_SECONDS
from pruning_service.resources.threads import run_in_thread_if_large
from pruning_service.status import Refusal
from pruning_service.streams.byte_streams import Reserve
from pruning_service.streams.digest import Digest
from pruning_service.streams.message_reader import MessageReader
from pruning_service.streams.request_messages import check_may_be_options, data_of, parsed_options, whole_of
from pruning_service.streams.throughput import ThroughputCheck

AHEAD_BYTES: Final = 256 * 1024
"""Models up to this size are received while the options are worked on. gRPC's own window has them anyway."""


class RequestStream:
    """What the client sends: a `ByteSource` once `options` has been read. `digest` is of all data, if asked for.

    `is_whole`: options and data came in one message, after which no more is read.
    """

    rereadable: Final = None

    def __init__(
        self,
        requests: AsyncIterator[bytes],
        idle_seconds: float,
        min_bytes_per_second: int = 0,
        first_seconds: float = FIRST_MESSAGE_SECONDS,
    ) -> None:
        self.total_bytes = 0
        self.is_whole = False
        self.received_bytes = 0
        self.digest: Digest | None = None
        self._data: memoryview | None = None  # of a whole model
        self._reader = MessageReader(requests)
        self._idle_seconds = idle_seconds
        self._first_seconds = min(idle_seconds, first_seconds)
        self._throughput = ThroughputCheck(min_bytes_per_second, "sent", idle_seconds)

    async def options(self, reserve: Reserve) -> PruneOptions:
        """Return the first message's options, of which every part is known here. Raises: Refusal, DecodeError.

        `reserve` is called with the bytes of the message before it is parsed.
        """
        raw = await self._next(self._first_seconds)
        if raw is None:
            raise Refusal(
                reason=Reason.OPTIONS_FIRST, message="the stream ended before any message; send options first"
            )
        check_may_be_options(raw)
        whole = whole_of(raw)
        if whole is not None:
            raw, self._data = whole
            self.is_whole = True
        await reserve(len(raw))
        options = await run_in_thread_if_large(partial(parsed_options, raw), len(raw))
        if options.digests:
            self.digest = Digest()
        self.total_bytes = options.total_bytes
        self._reader.reads_ahead = self.total_bytes <= AHEAD_BYTES and not self.is_whole
        return options

    async def read(self) -> memoryview | None:
        """Return the next bytes of the file; None at its end: after a whole model, or once the client has half-closed.

        Raises: Refusal, DecodeError.
        """
        data = await self._received() if not self.is_whole else self._data
        if data is None:
            return None
        self._data = None
        self.received_bytes += len(data)
        if self.digest is not None:
            await self.digest.take(data)
        return data

    async def _received(self) -> memoryview | None:
        begin = time.monotonic()
        raw = await self._next(self._idle_seconds)
        if raw is None:
            return None
        data = data_of(raw)
        self._throughput.record(time.monotonic() - begin, len(data))
        return data

    async def sha256(self) -> str:
        """Return the digest of the data so far in hex; empty if not asked for."""
        return "" if self.digest is None else await self.digest.hexdigest()

    async def discard(self, seconds: float) -> None:
        """Read and drop messages until the client half-closes, `seconds` at most."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                if await self._reader.next(left) is None:
                    return
            except Exception:  # noqa: BLE001 - the call has failed already, and why is known
                return

    def close(self) -> None:
        """Cancel the read that may be under way, and drop what has been received."""
        self._reader.close()

    async def _next(self, seconds: float) -> bytes | None:
        try:
            return await self._reader.next(seconds)
        except TimeoutError:
            raise Refusal(
                reason=Reason.CLIENT_IDLE,
                message=f"nothing came for {seconds:g} s; half-close when all is sent",
            ) from None
