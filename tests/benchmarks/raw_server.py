"""What gRPC itself can carry: a grpc.aio server of bytes that nobody looks at. `python -m tests.benchmarks.raw_server`

It prints its address, and serves until its standard input closes. Messages are bytes in and bytes out, with no
(de)serializer, so that whatever is slower than this is our own doing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

SERVICE: Final = "raw.Bytes"
SINK: Final = f"/{SERVICE}/Sink"
ECHO: Final = f"/{SERVICE}/Echo"


async def sink(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Read all, then answer with how many bytes came."""
    count = 0
    async for message in requests:
        count += len(message)
    yield str(count).encode()


async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Send back each message."""
    async for message in requests:
        yield message


async def serve() -> None:
    """Serve on a free port until standard input closes."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    methods: dict[str, Any] = {
        "Sink": grpc.stream_stream_rpc_method_handler(sink),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
