"""The network of one attempt on an event loop: grpc.aio's stub, a task that sends, and the caller's own that receives.

The thinking is in `exchange`, as it is for `stream`. Whatever may take longer than a chunk's copy (reading files,
views of tensors, writing) is done in threads, one chunk ahead of what is sent and one behind what has come.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import grpc

from pruning_client.calls.exchange import Exchange, Watcher, model_bytes
from pruning_client.transport.sync_stream import END_GRACE_SECONDS
from pruning_client.transport.threads import finished, in_thread, settled, start
from pruning_proto.framing import Data, encode
from pruning_proto.v1.pruning_pb2 import PruneRequest

Begin: TypeAlias = Callable[[], Any]
"""Begins a call of a stub whose requests are bytes, by grpc.aio's methods `write` and `done_writing`."""

STATUS_SECONDS: Final = 1.0
"""How long to wait for the status that the server sent, where grpc.aio made up one of its own."""

_CLOCK_SECONDS: Final = 0.01
"""What gRPC's clock and Python's may differ by."""

_MADE_UP: Final = "Internal error from Core"

_Value = TypeVar("_Value")


async def converse(
    begin: Begin, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None = None
) -> None:
    """Carry out a call, to its end or the first failure; `write` is given the result's bytes, in a thread.

    Raises: grpc.RpcError if the call fails for a reason that `exchange` does not know. ProtocolError.
    Whatever `write`, the source or `watcher` raise.
    """
    cancelled_before = cancellations()
    call = begin()
    status = _Status(call)
    behind = _Behind(write)
    tell = partial(_tell, exchange, watcher)
    sender = _Sender(call, exchange, tell)
    try:
        await _receive(call, exchange, sender, behind, tell)
    except grpc.aio.AioRpcError as error:
        if not sender.is_explained:
            raise await status.told_by_the_server(error) from None
    except asyncio.CancelledError:  # of this task; or of the call alone, which is told in the same way
        if cancellations() > cancelled_before or not sender.is_explained:
            raise
    finally:
        call.cancel()
        await settled(sender.stopped(), behind.writing)
    if sender.cause is not None:
        raise sender.cause


async def _receive(
    call: Any, exchange: Exchange, sender: "_Sender", behind: "_Behind", tell: Callable[[], None]
) -> None:
    farewell: asyncio.TimerHandle | None = None
    try:
        async for message in call:
            receive = partial(exchange.receive, message)
            data = await in_thread(receive) if exchange.takes_long(message) else receive()
            sender.look()
            if data is not None:
                await behind.write(data)
            elif exchange.failure is not None and farewell is None:
                farewell = asyncio.get_running_loop().call_later(END_GRACE_SECONDS, call.cancel)
            tell()
    finally:
        if farewell is not None:
            farewell.cancel()
    await behind.done()


def _tell(exchange: Exchange, watcher: Watcher | None) -> None:
    if watcher is not None:
        watcher(exchange.progress)


def cancellations() -> int:
    """How often the task that runs was asked to end. More than before: it is now; one may have been caught earlier."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


class _Sender:
    """The task that sends. An exception of the caller's tensors or callback is kept as `cause`, and ends the call."""

    def __init__(self, call: Any, exchange: Exchange, tell: Callable[[], None]) -> None:
        self.cause: Exception | None = None
        self._call = call
        self._exchange = exchange
        self._tell = tell
        self._may_go_on = asyncio.Event()
        self._ahead = _Ahead(exchange.body())
        self._task = asyncio.create_task(self._run())

    @property
    def is_explained(self) -> bool:
        """Whether it is known why the call ended, whatever its status says."""
        return self.cause is not None or self._exchange.failure is not None

    def look(self) -> None:
        """Go on, or stop, if what came allows it."""
        if self._exchange.plan is not None or self._exchange.failure is not None:
            self._may_go_on.set()

    def stopped(self) -> "asyncio.Task[None]":
        """Send no more; give what ends when nothing is under way any longer."""
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        try:
            await self._send()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call has ended; why is told where it is read
        except Exception as error:  # noqa: BLE001 - of the caller's tensors or callback: whatever it is, the caller gets it
            self.cause = error
            self._call.cancel()
        finally:
            await settled(self._ahead.making)

    async def _send(self) -> None:
        for message in self._exchange.opening():
            await self._write(_made(message))
        if self._exchange.waits_for_plan:
            await self._may_go_on.wait()
        while self._exchange.failure is None and (made := await self._ahead.next()) is not None:
            await self._write(made)
            self._tell()
        await self._call.done_writing()

    async def _write(self, made: "_Made") -> None:
        await self._call.write(made.message)
        self._exchange.sent(made.model_bytes)


@dataclass(frozen=True, slots=True)
class _Made:
    """A message as it goes on the wire, and how many bytes of the model are in it."""

    message: bytes
    model_bytes: int


def _made(message: PruneRequest | Data) -> _Made:
    return _Made(encode(message), model_bytes(message))


class _Ahead:
    """Makes messages in a thread, one ahead of what is asked for."""

    def __init__(self, chunks: Iterator[Data]) -> None:
        self.making: asyncio.Future[_Made | None] | None = None
        self._chunks = chunks

    async def next(self) -> _Made | None:
        """Give the next message; None after the last."""
        made = await finished(self.making or start(self._make))
        if made is not None:
            self.making = start(self._make)
        return made

    def _make(self) -> _Made | None:
        chunk = next(self._chunks, None)
        return None if chunk is None else _made(chunk)


class _Behind:
    """Writes in a thread, one behind what has come."""

    def __init__(self, write: Callable[[Data], object]) -> None:
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
    """How a call ended, by the server's word.

    grpc.aio answers a write that failed with a status that it makes up, INTERNAL; the one that the server sent is
    overwritten by it, or overwrites it a moment later. Source: https://github.com/grpc/grpc/issues/36066.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._told: grpc.aio.AioRpcError | None = None
        self._came = asyncio.Event()
        call.add_done_callback(self._look)  # is called for each of the two

    def _look(self, _: object) -> None:
        error = _immediately(self._error())
        if error.details() != _MADE_UP:
            self._told = error
            self._came.set()

    async def _error(self) -> grpc.aio.AioRpcError:
        call = self._call
        return grpc.aio.AioRpcError(
            await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )

    async def told_by_the_server(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Give the error that the server told, if it has come or comes soon; else this one."""
        if error.details() != _MADE_UP:
            return error
        if self._told is None and self._is_over_time():  # what made the write fail; no status comes after it
            return grpc.aio.AioRpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED, error.initial_metadata(), error.trailing_metadata()
            )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), STATUS_SECONDS)
        return self._told or error

    def _is_over_time(self) -> bool:
        left = self._call.time_remaining()
        return left is not None and left < _CLOCK_SECONDS


def _immediately(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Give what a coroutine gives that has nothing to wait for: that of a status which is there."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    raise RuntimeError("a call that has ended has a status")
