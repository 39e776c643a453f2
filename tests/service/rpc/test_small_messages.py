"""Streams of small messages: what is refused is not kept."""

import asyncio
import gc
import types
from collections.abc import AsyncIterator
from typing import Any

import grpc

from pruning_proto.limits import MIB
from pruning_service.rpc import small_messages
from pruning_service.rpc.small_messages import SmallMessages

METHOD = "/test.Echo/Echo"
LONG = bytes(2 * MIB)


def kept_bytes() -> list[int]:
    """Return the lengths of messages that frames of the interceptor still refer to."""
    frames = [each for each in gc.get_objects() if type(each) is types.FrameType]  # `isinstance` asks proxies
    ours = [frame for frame in frames if frame.f_code.co_filename == small_messages.__file__]
    return [len(frame.f_locals["raw"]) for frame in ours if "raw" in frame.f_locals]


async def _echoed(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for message in requests:
        yield message


async def _refused_call() -> tuple[grpc.StatusCode, list[int]]:
    server = grpc.aio.server(interceptors=[SmallMessages()])
    handler = grpc.stream_stream_rpc_method_handler(_echoed, bytes, bytes)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.stream_stream(METHOD)(iter([LONG]))  # type: ignore[arg-type]
            code = await call.code()
        return code, kept_bytes()
    finally:
        await server.stop(0)


def test_message_that_is_refused_is_not_kept_after_its_call() -> None:
    assert asyncio.run(_refused_call()) == (grpc.StatusCode.INVALID_ARGUMENT, [])
