"""What `aio_status` relies on and grpc.aio does not promise: the status of an ended call can be read at once."""

import asyncio
import functools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pruning_client import AsyncClient, rules
from pruning_client.transport import aio_connection
from pruning_client.transport.aio_status import Call, immediately, status_error
from pruning_client.transport.aio_stream import Begin, converse
from pruning_proto.framing import decode_response
from pruning_proto.names import PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import data, plan, report, scripted_server
from tests.client.tiny_files import weight, written

TRIED_WITH = "1.85.1"
"""The newest version of grpcio that this was seen to hold for."""


def refuse(requests: Iterator[pb.PruneRequest], context: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
    context.abort(grpc.StatusCode.ABORTED, "not today")
    yield from ()


class Never:
    """What is awaited in vain."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def forever() -> None:
    await Never()


async def status_in_the_callback(address: str) -> grpc.aio.AioRpcError:
    """Return the status of a refused call, read inside the callback of its end, where nothing can be awaited."""
    read: asyncio.Future[grpc.aio.AioRpcError] = asyncio.get_running_loop().create_future()

    def look(call: Any) -> None:
        try:
            read.set_result(immediately(status_error(call)))
        except RuntimeError as error:
            read.set_exception(error)

    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(PRUNE_PATH, None, decode_response)()
        call.add_done_callback(look)
        return await asyncio.wait_for(read, 20)


def test_status_of_an_ended_call_waits_for_nothing() -> None:
    with scripted_server(refuse) as address:
        try:
            error = asyncio.run(status_in_the_callback(address))
        except RuntimeError as failed:
            pytest.fail(f"grpcio {grpc.__version__} differs from {TRIED_WITH}, see aio_status.immediately: {failed}")
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "not today")


def test_coroutine_that_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="makes the status of an ended call wait"):
        immediately(forever())


def with_a_late_write(begin: Begin) -> Call:
    """Begin a call, and let grpc.aio overwrite the server's status with the one of a write that came after its end."""
    call: Any = begin()
    once = iter([True])  # grpc.aio calls back for this status too

    def overwrite(_: Any) -> None:
        if next(once, False):
            late = functools.partial(call._cython_call.set_internal_error, "a write that came too late")
            asyncio.get_running_loop().call_soon(late)

    call.add_done_callback(overwrite)
    return call  # type: ignore[no-any-return]


def test_result_is_whole_though_a_write_came_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = written(
        tmp_path / "in", weight(*range(1 << 17))
    )  # too large for one message, after which nothing is written

    def answer(requests: Iterator[pb.PruneRequest], _: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        next(requests)
        yield from (plan(), data(model.read_bytes()), report())

    def converse_late(begin: Begin, *arguments: Any, **options: Any) -> Any:
        return converse(functools.partial(with_a_late_write, begin), *arguments, **options)

    async def prune(address: str) -> None:
        async with AsyncClient(address, retries=0) as client:
            await client.prune_file(model, tmp_path / "out", rules.l1_unstructured(0.5))

    monkeypatch.setattr(aio_connection, "converse", converse_late)
    with scripted_server(answer) as address:
        asyncio.run(prune(address))
    assert (tmp_path / "out").read_bytes() == model.read_bytes()
