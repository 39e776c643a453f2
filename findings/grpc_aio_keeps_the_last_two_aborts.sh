#!/usr/bin/env bash
# A server of grpc.aio keeps the last two errors that `context.abort` raised, with the frames of their tracebacks.
#
# grpcio 1.85.1, Python 3.11.
# gRPC's error stays alive after the call, with all local variables of the functions that its traceback goes through: those
# of the last two calls that were aborted, until others take their place or the server stops, whatever the garbage collector
# does. A handler that aborts in an `except` block has the error that it handles kept as well, with the functions that this
# one came through, such as the one that found a message of megabytes too long. A handler that leaves the `except` block
# first keeps its own local variables only, and one that lets its own error through keeps nothing. It is the same for unary
# calls and for handlers that are generators.
#
# Output observed: alive after 1 to 5 calls: handled in except [1, 2, 2, 2, 2], handled before [0, 0, 0, 0, 0], local variable of the handler [1, 2, 2, 2, 2], raised [0, 0, 0, 0, 0]
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


async def with_local(requests, context):
    message = Message()
    references.append(weakref.ref(message))
    await context.abort(INVALID, "too long")


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


kinds = {
    "handled in except": in_except,
    "handled before": after_except,
    "local variable of the handler": with_local,
    "raised": raised,
}
found = {name: asyncio.run(alive(handler)) for name, handler in kinds.items()}
print(f"alive after 1 to {CALLS} calls: " + ", ".join(f"{name} {counts}" for name, counts in found.items()))
kept, nothing = [1, 2, 2, 2, 2], [0] * CALLS
assert list(found.values()) == [kept, nothing, kept, nothing], found
PY
