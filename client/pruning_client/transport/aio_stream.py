"""One attempt of a call over grpc.aio, for `AsyncClient`.

The state of an attempt is in `calls.exchange`, as for `sync_stream`. A task sends, and the caller's own receives.
Whatever may take longer than copying a chunk (reading files, views of tensors, writing) is done in threads, one chunk
ahead of what is sent and one behind what was received.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import grpc

from pruning_client.calls.exchange import Exchange, Watcher, model_bytes
from pruning_client.transport.aio_status import Call, ServerStatus
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_stream import END_GRACE_SECONDS, StalledError, Write
from pruning_client.transport.threads import cancellations, finished, in_thread, settled, start
from pruning_proto.framing import Data, encode
from pruning_proto.v1 import pruning_pb2 as pb

Begin: TypeAlias = Callable[[], Call]
"""Begins a call."""

LONG_HEADER_BYTES: Final = 64 * 1024
"""Of the header of a model of several hundred tensors. Longer plans, headers and reports are read in a thread."""


async def converse(  # noqa: PLR0913 - a call, and how it is sent
    begin: Begin,
    exchange: Exchange,
    write: Write,
    watcher: Watcher | None = None,
    attempts: Attempts | None = None,
    *,
    is_whole: bool = False,
) -> None:
    """Carry out a call, to its end or the first failure; `write` takes the result's bytes, in a thread.

    `is_whole`: `begin` sends all of it, in one message.

    Raises: grpc.RpcError if the call fails for a reason that `exchange` does not know. ProtocolError.
    StalledError if the limit of `attempts` moves, and is reached. Whatever `write`, the source or `watcher` raise.
    """
    cancelled_before = cancellations()
    call = begin()
    status = ServerStatus(call)
    writer = _WriteBehind(write)
    report_progress = partial(_report_progress, exchange, watcher)
    sender = _Sender(call, exchange, report_progress, is_done=is_whole)
    stop_watching = _end_when_stalled(sender, attempts) if attempts is not None else None
    try:
        await _receive(call, exchange, sender, writer, report_progress)
    except grpc.aio.AioRpcError as error:
        if not sender.is_explained:
            _raise_unless_ok(await status.in_place_of(error))
            await writer.done()
    except asyncio.CancelledError:  # of this task; or of the call alone, which grpc.aio raises in the same way
        if cancellations() > cancelled_before or not sender.is_explained:
            raise
    finally:
        if stop_watching is not None:
            stop_watching()
        call.cancel()
        await settled(sender.stopped(), writer.writing)
    if sender.cause is not None:
        raise sender.cause


def _raise_unless_ok(sent: grpc.aio.AioRpcError) -> None:
    """Raise how a call failed. Its result is whole if the server ended it well, and only a write came too late."""
    if sent.code() is not grpc.StatusCode.OK:
        raise sent from None


def _end_when_stalled(sender: "_Sender", attempts: Attempts) -> Callable[[], object] | None:
    """End a call whose limit moves when that is reached; return what stops looking. None: its limit does not move."""
    if not attempts.is_extended:
        return None
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        seconds = attempts.seconds_left or 0.0
        if seconds == 0.0:
            sender.end(StalledError())
        else:
            timer = loop.call_later(seconds, look)

    def stop() -> None:
        if timer is not None:
            timer.cancel()

    look()
    return stop


async def _receive(
    call: Call, exchange: Exchange, sender: "_Sender", writer: "_WriteBehind", report_progress: Callable[[], None]
) -> None:
    end_timer: asyncio.TimerHandle | None = None
    try:
        async for message in call:
            receive = partial(exchange.receive, message)
            data = await in_thread(receive) if _takes_long(exchange, message) else receive()
            report_progress()  # which may end the call: the plan says how large the result will be
            sender.proceed()
            if data is not None:
                await writer.write(data)
            elif exchange.failure is not None and end_timer is None:
                end_timer = asyncio.get_running_loop().call_later(END_GRACE_SECONDS, call.cancel)
    finally:
        if end_timer is not None:
            end_timer.cancel()
    await writer.done()


def _takes_long(exchange: Exchange, message: pb.PruneResponse | memoryview) -> bool:
    """Whether `receive` would block the event loop: it reads a long plan or header, or computes a digest."""
    if isinstance(message, memoryview):
        return exchange.takes_digests or (is_long(exchange) and exchange.result_layout is None)
    return is_long(exchange) and (message.HasField("plan") or message.HasField("report"))


def is_long(exchange: Exchange) -> bool:
    """Whether a model has so many tensors that reading plan, header or report takes more than a few milliseconds."""
    return exchange.header_bytes > LONG_HEADER_BYTES


def _report_progress(exchange: Exchange, watcher: Watcher | None) -> None:
    if watcher is not None:
        watcher(exchange.progress)


class _Sender:
    """The task that sends. An exception of the caller's tensors or callback is kept as `cause`, and ends the call."""

    def __init__(self, call: Call, exchange: Exchange, report_progress: Callable[[], None], *, is_done: bool) -> None:
        self.cause: Exception | None = None
        self._call = call
        self._exchange = exchange
        self._report_progress = report_progress
        self._may_proceed = asyncio.Event()
        self._encoder = _EncodeAhead(exchange.body())
        self._task = asyncio.create_task(self._run(is_done=is_done))

    @property
    def is_explained(self) -> bool:
        """Whether it is known why the call ended, whatever its status says."""
        return self.cause is not None or self._exchange.failure is not None

    def proceed(self) -> None:
        """Send the body, or nothing more, if what was received decides it."""
        if self._exchange.plan is not None or self._exchange.failure is not None:
            self._may_proceed.set()

    def end(self, cause: Exception) -> None:
        """End the call because of this."""
        self.cause = self.cause or cause
        self._call.cancel()

    def stopped(self) -> "asyncio.Task[None]":
        """Send no more; return what is done when nothing runs any longer."""
        self._task.cancel()
        return self._task

    async def _run(self, *, is_done: bool) -> None:
        try:
            if is_done:
                self._report_progress()
            else:
                await self._send()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call has ended; the receiver learns why
        except Exception as error:  # noqa: BLE001 - of the caller's tensors or callback: raised in the caller's task
            self.end(error)
        finally:
            await settled(self._encoder.encoding)

    async def _send(self) -> None:
        for message in self._exchange.opening():
            await self._write(_encoded(message))
        if self._exchange.waits_for_plan:
            await self._may_proceed.wait()
        while self._exchange.failure is None and (encoded := await self._encoder.next()) is not None:
            await self._write(encoded)
            self._report_progress()
        await self._call.done_writing()

    async def _write(self, message: "_Encoded") -> None:
        await self._call.write(message.wire)
        self._exchange.sent(message.model_bytes)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A message as it is sent, and how many bytes of the model are in it."""

    wire: bytes
    model_bytes: int


def _encoded(message: pb.PruneRequest | Data) -> _Encoded:
    return _Encoded(encode(message), model_bytes(message))


class _EncodeAhead:
    """Encodes messages in a thread, one ahead of what is asked for."""

    def __init__(self, chunks: Iterator[Data]) -> None:
        self.encoding: asyncio.Future[_Encoded | None] | None = None
        self._chunks = chunks

    async def next(self) -> _Encoded | None:
        """Return the next message; None after the last."""
        message = await finished(self.encoding or start(self._encode))
        if message is not None:
            self.encoding = start(self._encode)
        return message

    def _encode(self) -> _Encoded | None:
        chunk = next(self._chunks, None)
        return None if chunk is None else _encoded(chunk)


class _WriteBehind:
    """Writes in a thread, one behind what was received."""

    def __init__(self, write: Write) -> None:
        self.writing: asyncio.Future[object] | None = None
        self._write = write

    async def write(self, data: Data) -> None:
        """Begin to write `data`, once what came before is written. Raises: whatever that write raises."""
        await self.done()
        self.writing = start(lambda: self._write(data))

    async def done(self) -> None:
        """Wait until all is written. Raises: as `write`."""
        if self.writing is not None:
            await finished(self.writing)
