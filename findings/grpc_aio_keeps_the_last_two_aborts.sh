#!/usr/bin/env bash
# A server of grpc.aio keeps the last two errors that `context.abort` raised, with the frames of their tracebacks.
#
# grpcio 1.85.1, Python 3.11.
# A handler that calls `await context.abort(...)` in an `except` block raises gRPC's error under the one that it handles.
# Both stay alive after the call, with all local variables of the functions in their tracebacks, such as a message of
# megabytes that was refused for its size: those of the last two such calls, until others take their place or the server
# stops, whatever the garbage collector does. A handler that leaves the `except` block before it aborts, or that lets its
# own error through, keeps nothing. It is the same for unary calls and for handlers that are generators.
#
# Output observed: alive after 1 to 5 calls: aborted in except [1, 2, 2, 2, 2], aborted after except [0, 0, 0, 0, 0], raised [0, 0, 0, 0, 0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'grpcio==1.85.1'
"$work/env/bin/python" - <<'PY'
import asyncio
import gc
import logging
import weakref

import grpc
import grpc.aio

logging.disable()  # grpc.aio logs the handler that raises
INVALID = grpc.StatusCode.INVALID_ARGUMENT
CALLS = 5
references = []


class Message:
    pass


class Refused(Exception):
    pass


def check():
    message = Message()
    references.append(weakref.ref(message))
    raise Refused("too long")


async def in_except(requests, context):
    try:
        check()
    except Refused as refused:
        await context.abort(INVALID, str(refused))


async def after_except(requests, context):
    try:
        check()
    except Refused as refused:
        why = str(refused)
    await context.abort(INVALID, why)


async def raised(requests, context):
    check()


async def alive(handler):
    references.clear()
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", {"call": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    counts = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(CALLS):
            call = channel.stream_stream("/test/call")(iter([b"message"]))
            assert await call.code() in (INVALID, grpc.StatusCode.UNKNOWN)
            await asyncio.sleep(0.5)
            gc.collect()
            counts.append(sum(each() is not None for each in references))
    await server.stop(None)
    return counts


kinds = {"aborted in except": in_except, "aborted after except": after_except, "raised": raised}
found = {name: asyncio.run(alive(handler)) for name, handler in kinds.items()}
print(f"alive after 1 to {CALLS} calls: " + ", ".join(f"{name} {counts}" for name, counts in found.items()))
assert found == {"aborted in except": [1, 2, 2, 2, 2], "aborted after except": [0] * 5, "raised": [0] * 5}, found
PY
