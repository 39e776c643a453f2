"""gRPC for `AsyncClient`: a channel of grpc.aio, and one attempt of a call over it.

The state of an attempt is in `calls.exchange`, as for `sync_stream`. A task sends, and the caller's own receives.
Whatever may take longer than copying a chunk (reading files, views of tensors, writing) is done in threads, one chunk
ahead of what is sent and one behind what was received.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import grpc

from pruning_client.calls.exchange import Exchange, Watcher, model_bytes
from pruning_client.calls.outcome import Outcome
from pruning_client.errors import closed_error
from pruning_client.errors.from_server import from_status
from pruning_client.transport.addresses import Target, name_of
from pruning_client.transport.channel import open_aio_channel
from pruning_client.transport.credentials import Metadata, Security
from pruning_client.transport.retry import Attempts
from pruning_client.transport.sync_stream import END_GRACE_SECONDS, Write
from pruning_client.transport.threads import cancellations, finished, in_thread, settled, start
from pruning_proto.framing import Data, decode_response, encode
from pruning_proto.names import GET_CAPABILITIES_PATH, PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, pb.PruneResponse | memoryview]"
"""A call of a stub whose requests are bytes, sent by grpc.aio's methods `write` and `done_writing`."""

Begin: TypeAlias = Callable[[], Call]
"""Begins a call."""

LONG_HEADER_BYTES: Final = 64 * 1024
"""Of the header of a model of several hundred tensors. Longer plans, headers and reports are read in a thread."""

STATUS_SECONDS: Final = 1.0
"""How long to wait for the status that the server sent, where grpc.aio made up one of its own."""

_CLOCK_SECONDS: Final = 0.01
"""What gRPC's clock and Python's may differ by."""

_MADE_UP: Final = "Internal error from Core"

_Value = TypeVar("_Value")


class GrpcAioConnection:
    """A channel to a server, for the event loop that runs now. Raises: as `open_channel`."""

    def __init__(self, target: Target, security: Security) -> None:
        self._name = name_of(target)
        self._security = security
        self._is_closed = False
        self._channel = open_aio_channel(target, security)
        self._prune: Any = self._channel.stream_stream(PRUNE_PATH, None, decode_response)
        self._get_capabilities = self._channel.unary_unary(
            GET_CAPABILITIES_PATH,
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    async def close(self) -> None:
        """Close the channel; running calls are cancelled."""
        self._is_closed = True
        await self._channel.close()

    async def prune(self, exchange: Exchange, write: Write, watcher: Watcher | None, attempts: Attempts) -> Outcome:
        """Carry out one attempt of Prune. Raises: PruningError; whatever `write`, the source or `watcher` raise."""
        metadata = await self._metadata()  # the time that it takes counts as the call's
        begin = partial(self._prune, timeout=attempts.seconds_left, metadata=metadata)
        try:
            await converse(begin, exchange, write, watcher)
        except grpc.aio.AioRpcError as error:
            sent_bytes = exchange.sent_bytes if exchange.is_answered else None
            raise from_status(error, self._name, sent_bytes, is_tls=self._security.is_tls) from error
        return await in_thread(exchange.finish) if _is_long(exchange) else exchange.finish()

    async def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        """Carry out one attempt of GetCapabilities. Raises: PruningError."""
        metadata = await self._metadata()  # the time that it takes counts as the call's
        request = pb.GetCapabilitiesRequest()
        try:
            return await self._get_capabilities(request, timeout=attempts.seconds_left, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_status(error, self._name, is_tls=self._security.is_tls) from error

    async def _metadata(self) -> Metadata:
        """Return the metadata of an attempt. Raises: UnavailableError if this was closed meanwhile."""
        metadata = await in_thread(self._security.metadata) if self._security.may_block else self._security.metadata()
        if self._is_closed:  # gRPC would raise something of its own
            raise closed_error(self._name)
        return metadata


async def converse(begin: Begin, exchange: Exchange, write: Write, watcher: Watcher | None = None) -> None:
    """Carry out a call, to its end or the first failure; `write` takes the result's bytes, in a thread.

    Raises: grpc.RpcError if the call fails for a reason that `exchange` does not know. ProtocolError.
    Whatever `write`, the source or `watcher` raise.
    """
    cancelled_before = cancellations()
    call = begin()
    status = _Status(call)
    writer = _WriteBehind(write)
    report_progress = partial(_report_progress, exchange, watcher)
    sender = _Sender(call, exchange, report_progress)
    try:
        await _receive(call, exchange, sender, writer, report_progress)
    except grpc.aio.AioRpcError as error:
        if not sender.is_explained:
            raise await status.of_the_server(error) from None
    except asyncio.CancelledError:  # of this task; or of the call alone, which grpc.aio raises in the same way
        if cancellations() > cancelled_before or not sender.is_explained:
            raise
    finally:
        call.cancel()
        await settled(sender.stopped(), writer.writing)
    if sender.cause is not None:
        raise sender.cause


async def _receive(
    call: Call, exchange: Exchange, sender: "_Sender", writer: "_WriteBehind", report_progress: Callable[[], None]
) -> None:
    end_timer: asyncio.TimerHandle | None = None
    try:
        async for message in call:
            receive = partial(exchange.receive, message)
            data = await in_thread(receive) if _takes_long(exchange, message) else receive()
            sender.proceed()
            if data is not None:
                await writer.write(data)
            elif exchange.failure is not None and end_timer is None:
                end_timer = asyncio.get_running_loop().call_later(END_GRACE_SECONDS, call.cancel)
            report_progress()
    finally:
        if end_timer is not None:
            end_timer.cancel()
    await writer.done()


def _takes_long(exchange: Exchange, message: pb.PruneResponse | memoryview) -> bool:
    """Whether `receive` would block the event loop: it reads a long plan or header, or computes a digest."""
    if isinstance(message, memoryview):
        return exchange.takes_digests or (_is_long(exchange) and exchange.result_layout is None)
    return _is_long(exchange) and message.HasField("plan")


def _is_long(exchange: Exchange) -> bool:
    """Whether a model has so many tensors that reading plan, header or report takes more than a few milliseconds."""
    return exchange.header_bytes > LONG_HEADER_BYTES


def _report_progress(exchange: Exchange, watcher: Watcher | None) -> None:
    if watcher is not None:
        watcher(exchange.progress)


class _Sender:
    """The task that sends. An exception of the caller's tensors or callback is kept as `cause`, and ends the call."""

    def __init__(self, call: Call, exchange: Exchange, report_progress: Callable[[], None]) -> None:
        self.cause: Exception | None = None
        self._call = call
        self._exchange = exchange
        self._report_progress = report_progress
        self._may_proceed = asyncio.Event()
        self._encoder = _EncodeAhead(exchange.body())
        self._task = asyncio.create_task(self._run())

    @property
    def is_explained(self) -> bool:
        """Whether it is known why the call ended, whatever its status says."""
        return self.cause is not None or self._exchange.failure is not None

    def proceed(self) -> None:
        """Send the body, or nothing more, if what was received decides it."""
        if self._exchange.plan is not None or self._exchange.failure is not None:
            self._may_proceed.set()

    def stopped(self) -> "asyncio.Task[None]":
        """Send no more; return what is done when nothing runs any longer."""
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        try:
            await self._send()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call has ended; the receiver learns why
        except Exception as error:  # noqa: BLE001 - of the caller's tensors or callback: raised in the caller's task
            self.cause = error
            self._call.cancel()
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


class _Status:
    """How a call ended, by the status that the server sent.

    grpc.aio answers a write that failed with a status that it makes up, INTERNAL; the one that the server sent is
    overwritten by it, or overwrites it a moment later. Source: https://github.com/grpc/grpc/issues/36066.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sent: grpc.aio.AioRpcError | None = None
        self._arrived = asyncio.Event()
        call.add_done_callback(self._read)  # is called for each of the two

    def _read(self, _: object) -> None:
        error = immediately(status_error(self._call))
        if error.details() != _MADE_UP:
            self._sent = error
            self._arrived.set()

    async def of_the_server(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the error that the server sent, if it has arrived or arrives soon; else this one."""
        if error.details() != _MADE_UP:
            return error
        if self._sent is None and self._is_over_time():  # what made the write fail; no status comes after it
            return grpc.aio.AioRpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED, error.initial_metadata(), error.trailing_metadata()
            )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), STATUS_SECONDS)
        return self._sent or error

    def _is_over_time(self) -> bool:
        left = self._call.time_remaining()
        return left is not None and left < _CLOCK_SECONDS


async def status_error(call: Call) -> grpc.aio.AioRpcError:
    """Return the status of a call of grpc.aio that has ended, as an error."""
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def immediately(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Return what a coroutine returns that has nothing to wait for.

    The status of an ended call is such a case, though grpc.aio does not promise it: a test pins it to the versions
    that it was tried with. Raises: RuntimeError if there is something to wait for.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    coroutine.close()
    raise RuntimeError("grpc.aio makes the status of an ended call wait for something")
