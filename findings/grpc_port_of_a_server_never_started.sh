#!/usr/bin/env bash
# The port of a `grpc.server` that was never started stays open for ever, also after `stop` and when the server is gone.
#
# grpcio 1.85.1, Python 3.11.
# `add_insecure_port` and `add_secure_port` bind and listen at once, so that a server may be made only to see whether gRPC
# accepts an address, or a certificate and its key. `stop` of such a server returns at once and closes nothing, and neither
# does its end: each leaves a listening socket, to which clients can even connect. A server that was started and stopped
# frees its port. Servers of `grpc.aio` do the same.
#
# Output observed: sockets left of 20 servers: never started 20, started and stopped 0, grpc.aio never started 20
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'grpcio==1.85.1'
"$work/env/bin/python" - <<'PY'
import asyncio
import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio

SERVERS = 20


def tried(*, starts):
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port("127.0.0.1:0")
    if starts:
        server.start()
    server.stop(None).wait()


async def tried_aio():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.stop(None)


async def several_aio():
    for _ in range(SERVERS):
        await tried_aio()


def listening():
    """Count this process's sockets that listen."""
    gc.collect()
    time.sleep(3)
    own = {os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{name}")}
    lines = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).readlines()[1:]]
    return sum(f"socket:[{fields[9]}]" in own and fields[3] == "0A" for fields in lines)


found = {}
before = listening()
for name, work in {
    "never started": lambda: [tried(starts=False) for _ in range(SERVERS)],
    "started and stopped": lambda: [tried(starts=True) for _ in range(SERVERS)],
    "grpc.aio never started": lambda: asyncio.run(several_aio()),
}.items():
    work()
    after = listening()
    found[name] = after - before
    before = after
print(f"sockets left of {SERVERS} servers: " + ", ".join(f"{name} {count}" for name, count in found.items()))
assert found == {"never started": SERVERS, "started and stopped": 0, "grpc.aio never started": SERVERS}, found
PY
