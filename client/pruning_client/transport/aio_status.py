"""How a call of grpc.aio ended, by the status that the server sent and not by one that grpc.aio made up."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import grpc

if TYPE_CHECKING:
    from pruning_proto.v1 import pruning_pb2 as pb

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, pb.PruneResponse | memoryview]"
"""A call of a stub whose requests are bytes, sent by grpc.aio's methods `write` and `done_writing`."""

STATUS_SECONDS: Final = 1.0
"""How long to wait for the status that the server sent, where grpc.aio made up one of its own."""

_CLOCK_SECONDS: Final = 0.01
"""What gRPC's clock and Python's may differ by."""

_MADE_UP: Final = "Internal error from Core"

_Value = TypeVar("_Value")


class ServerStatus:
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

    async def in_place_of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
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
