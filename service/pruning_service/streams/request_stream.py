"""The client's messages, one at a time, in the order that the contract allows.

A read outlives its caller: when a call fails while a message is awaited, the same read goes on in `discard`.
(Cancelling it would close gRPC's iterator, and then the call could not end in good order.)
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, TypeAlias

from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import PruneOptions, PruneRequest
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.resources.threads import run_in_thread_if_large
from pruning_service.status import Refusal
from pruning_service.streams.digest import Digest
from pruning_service.streams.throughput import ThroughputCheck

MOST_BESIDE_DATA: Final = 1024
"""Bytes of a data message beside its data that are looked at, to name what is unknown: it happens on the event loop."""

Message: TypeAlias = PruneRequest | memoryview


class RequestStream:
    """What the client sends: a `ByteSource` once `options` has been read. `digest` is of all data, if asked for."""

    def __init__(self, requests: AsyncIterator[Message], idle_seconds: float, min_bytes_per_second: int = 0) -> None:
        self.total_bytes = 0
        self.received_bytes = 0
        self.digest: Digest | None = None
        self._requests = requests
        self._idle_seconds = idle_seconds
        self._throughput = ThroughputCheck(min_bytes_per_second, "sent", idle_seconds)
        self._reading: asyncio.Future[Message | None] | None = None

    async def options(self) -> PruneOptions:
        """Return the first message's options, of which every part is known here. Raises: Refusal."""
        message = await self._next()
        if message is None:
            raise Refusal(
                reason=Reason.OPTIONS_FIRST, message="the stream ended before any message; send options first"
            )
        if isinstance(message, memoryview) or message.WhichOneof("message") == "data":
            raise Refusal(reason=Reason.OPTIONS_FIRST, message="data came before options; send options first")
        if (size := message.ByteSize()) > limits.OPTIONS_BYTES:
            text = f"options have at most {limits.OPTIONS_BYTES:,} bytes, got {size:,}"
            raise Refusal(reason=Reason.INVALID_RECIPE, message=f"{text}; name fewer tensors or groups")
        await run_in_thread_if_large(partial(_check, message), size)
        if message.WhichOneof("message") is None:
            raise Refusal(reason=Reason.OPTIONS_FIRST, message="the first message is empty; send options first")
        if message.options.digests:
            self.digest = Digest()
        self.total_bytes = message.options.total_bytes
        return message.options

    async def read(self) -> memoryview | None:
        """Return the next bytes of the file; None once the client has half-closed. Raises: Refusal."""
        begin = time.monotonic()
        message = await self._next()
        if message is None:
            return None
        data = message if isinstance(message, memoryview) else _data_of(message)
        if not data:
            raise Refusal(reason=Reason.EMPTY_DATA, message="a data message is empty; leave it out")
        self.received_bytes += len(data)
        self._throughput.record(time.monotonic() - begin, len(data))
        if self.digest is not None:
            await self.digest.take(data)
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
                if await self._read(left) is None:
                    return
            except Exception:  # noqa: BLE001 - the call has failed already, and why is known
                return

    def close(self) -> None:
        """Cancel the read that may be under way."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None  # it may hold a message that nobody needs any more

    async def _next(self) -> Message | None:
        try:
            return await self._read(self._idle_seconds)
        except TimeoutError:
            raise Refusal(
                reason=Reason.CLIENT_IDLE,
                message=f"nothing came for {self._idle_seconds:g} s; half-close when all is sent",
            ) from None

    async def _read(self, seconds: float) -> Message | None:
        reading = self._reading = self._reading or asyncio.ensure_future(_first(self._requests))
        done, _ = await asyncio.wait({reading}, timeout=seconds)
        if not done:
            raise TimeoutError
        if self._reading is reading:
            self._reading = None
        return reading.result()


async def _first(requests: AsyncIterator[Message]) -> Message | None:
    async for message in requests:
        return message
    return None


def _check(message: PruneRequest) -> None:
    reject_unknown_fields(message.options)  # first, so that paths begin there
    reject_unknown_fields(message)


def _data_of(message: PruneRequest) -> memoryview:
    beside = message.ByteSize() - len(message.data)
    if beside > MOST_BESIDE_DATA and message.WhichOneof("message") != "options":
        text = f"a data message has {beside:,} bytes that this server does not know; send the data alone"
        raise Refusal(reason=Reason.UNSUPPORTED_FIELD, message=text)
    if beside <= MOST_BESIDE_DATA:
        reject_unknown_fields(message)
    if message.WhichOneof("message") == "options":
        raise Refusal(reason=Reason.UNEXPECTED_MESSAGE, message="options came a second time; send them once")
    return memoryview(message.data)
