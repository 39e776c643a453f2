"""What the server sends: messages in order, result bytes cut into chunks, and a heartbeat while there is nothing.

Small tensors are gathered into one message; large ones are sent as views of their own memory.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from pruning_proto import limits
from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Plan, PruneResponse, Report, WholeResponse
from pruning_service.status import Refusal
from pruning_service.streams.digest import Digest
from pruning_service.streams.signal import Signal
from pruning_service.streams.throughput import ThroughputCheck

_WRITES_IN_A_ROW: Final = 256
"""Results queued before others have the event loop: a model may have many thousand small ones."""

_LITTLE_BYTES: Final = 64 * 1024
"""What a client takes as soon as it looks: not worth waiting for."""


class ResponseStream:
    """What waits to be read by the client: messages, and as a `ByteSink` the bytes of the result.

    A writer waits while more than `backlog_bytes` of results are unread, and is refused if the client takes nothing for
    `idle_seconds`, or too little for long. `digest` is of all bytes, if asked for.
    """

    def __init__(self, backlog_bytes: int, idle_seconds: float, min_bytes_per_second: int = 0) -> None:
        self.backlog_bytes = backlog_bytes
        self.sent_bytes = 0
        self.digest: Digest | None = None
        self._writes = 0
        self._throughput = ThroughputCheck(min_bytes_per_second, "read", idle_seconds)
        self._idle_seconds = idle_seconds
        self._messages: deque[tuple[PruneResponse | Data, int]] = deque()
        self._unread_bytes = 0
        self._gathered = bytearray()
        self._joins = False
        self._plan: PruneResponse | None = None  # that waits for its data and report
        self._is_closed = False
        self._written = Signal()
        self._read = Signal()

    def take_digest(self) -> None:
        """Take the digest of all bytes that are sent from now on."""
        self.digest = Digest()

    async def sha256(self) -> str:
        """Return the digest of the bytes sent so far in hex; empty if not asked for."""
        return "" if self.digest is None else await self.digest.hexdigest()

    def join(self) -> None:
        """Send plan, data and report in one message, if each is short."""
        self._joins = True

    def send(self, message: PruneResponse) -> None:
        """Queue a message behind all bytes written before."""
        if self._joins and message.plan.last:
            self._plan, self._joins = message, False
        elif self._plan is not None and message.report.last:
            self._queue_joined(self._plan.plan, message.report)
        else:
            self._flush()
            self._queue(message)

    async def write(self, data: memoryview) -> None:
        """Queue bytes of the result. Raises: Refusal CLIENT_NOT_READING, CLIENT_TOO_SLOW."""
        while len(data):
            if not self._gathered and len(data) >= limits.CHUNK_BYTES:
                self._queue(data[: limits.CHUNK_BYTES])
                data = data[limits.CHUNK_BYTES :]
            else:
                space = limits.CHUNK_BYTES - len(self._gathered)
                self._gathered += data[:space]
                data = data[space:]
                if len(self._gathered) == limits.CHUNK_BYTES:
                    self._flush()
            await self._wait_while_unread(self.backlog_bytes)
        self._writes += 1
        if self._writes % _WRITES_IN_A_ROW == 0:
            await asyncio.sleep(0)

    async def nearly_drained(self) -> None:
        """Wait until little is left to be taken; with a digest, nothing. Raises: as `drained`."""
        if self._plan is not None:  # all of it goes with the report
            return
        self._flush()
        await self._wait_while_unread(0 if self.digest is not None else _LITTLE_BYTES)

    async def drained(self) -> None:
        """Wait until the client has taken everything. Raises: Refusal CLIENT_NOT_READING, CLIENT_TOO_SLOW."""
        self._flush()
        await self._wait_while_unread(0)

    def close(self) -> None:
        """Queue no more; what is queued is still sent."""
        self._is_closed = True
        self._written.set()

    def drop(self) -> None:
        """Drop what is queued: the call has failed."""
        self._unread_bytes -= sum(size for _, size in self._messages)
        self._messages.clear()
        self._gathered.clear()
        self._plan = None

    async def is_taken(self, seconds: float) -> bool:
        """Return whether the client takes everything within `seconds`."""
        end = time.monotonic() + seconds
        while self._unread_bytes:
            self._read.clear()
            if not await self._read.wait(end - time.monotonic()):
                break
        return self._unread_bytes == 0

    async def messages(self, heartbeat_seconds: float) -> AsyncIterator[PruneResponse | Data | None]:
        """Yield what is queued until it is closed; None whenever nothing came for `heartbeat_seconds`."""
        while True:
            while self._messages:
                message, size = self._messages.popleft()
                if self.digest is not None and not isinstance(message, PruneResponse):
                    await self.digest.take(message)
                yield message
                self._note_read(message, size)
                del message  # what is in it may be a large tensor's
            if self._is_closed:
                return
            self._written.clear()
            if not await self._written.wait(heartbeat_seconds):
                yield None

    def _queue_joined(self, plan: Plan, report: Report) -> None:
        whole = WholeResponse(plan=plan, data=bytes(self._gathered), report=report)
        self.sent_bytes += len(self._gathered)
        self._plan, self._gathered = None, bytearray()
        self._queue(PruneResponse(whole=whole))

    def _queue(self, message: PruneResponse | Data) -> None:
        plan, self._plan = self._plan, None
        if plan is not None:
            self._queue(plan)
        size = message.ByteSize() if isinstance(message, PruneResponse) else len(message)
        self._unread_bytes += size
        self._messages.append((message, size))
        self._written.set()

    def _flush(self) -> None:
        if self._gathered:
            self._queue(self._gathered)
            self._gathered = bytearray()
        elif self._plan is not None:
            plan, self._plan = self._plan, None
            self._queue(plan)

    def _note_read(self, message: PruneResponse | Data, size: int) -> None:
        self._unread_bytes -= size
        if not isinstance(message, PruneResponse):
            self.sent_bytes += size
        self._read.set()

    async def _wait_while_unread(self, most_bytes: int) -> None:
        while self._unread_bytes > most_bytes:
            begin, unread_bytes = time.monotonic(), self._unread_bytes
            self._read.clear()
            if not await self._read.wait(self._idle_seconds):
                raise Refusal(
                    reason=Reason.CLIENT_NOT_READING,
                    message=f"{self._unread_bytes:,} bytes of the result wait and none were read for "
                    f"{self._idle_seconds:g} s; read while you send",
                )
            self._throughput.record(time.monotonic() - begin, unread_bytes - self._unread_bytes)
