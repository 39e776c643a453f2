"""A client in a process forked from its own: refused with a sentence, and nothing hangs. Run as programs."""

import subprocess
import sys

import pytest

from tests.client.peers import peer

SYNC = """
import os, sys
from pruning_client import Client
client = Client(sys.argv[1])
client.capabilities()
child = os.fork()
if not child:
    try:
        {call}
    except RuntimeError as error:
        print(error, flush=True)
    client.close()
    sys.exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent", client.capabilities().version)
"""

ASYNC = """
import asyncio, os, sys
from pruning_client import AsyncClient
async def begin():
    client = AsyncClient(sys.argv[1])
    await client.capabilities()
    return client
async def go_on(client):
    try:
        await {call}
    except RuntimeError as error:
        print(error, flush=True)
    await client.close()
loop = asyncio.new_event_loop()
client = loop.run_until_complete(begin())
child = os.fork()
if not child:
    {run}
    sys.exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("parent", loop.run_until_complete(client.capabilities()).version)
loop.run_until_complete(client.close())
loop.close()
"""

IN_A_COROUTINE = """
import asyncio, os, sys
from pruning_client import AsyncClient, rules
async def main():
    client = AsyncClient(sys.argv[1])
    await client.capabilities()
    child = os.fork()
    if not child:
        try:
            await client.plan("model.safetensors", rules.identity())
        except RuntimeError as error:
            print(error, flush=True)
        await client.close()
        os._exit(7)  # the loop that runs belongs to the parent
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print("parent", (await client.capabilities()).version)
    await client.close()
asyncio.run(main())
"""

CAPABILITIES = "client.capabilities()"
HERE = "asyncio.run(go_on(client))"
IN_ITS_LOOP = "loop.run_until_complete(go_on(client))"


def run(program: str) -> subprocess.CompletedProcess[str]:
    with peer() as address:
        return subprocess.run(
            [sys.executable, "-c", program, address], capture_output=True, text=True, timeout=60, check=False
        )


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(SYNC.format(call=CAPABILITIES), id="Client, capabilities"),
        pytest.param(ASYNC.format(call=CAPABILITIES, run=HERE), id="AsyncClient, a loop of its own"),
        pytest.param(ASYNC.format(call=CAPABILITIES, run=IN_ITS_LOOP), id="AsyncClient, the inherited loop"),
        pytest.param(IN_A_COROUTINE, id="AsyncClient, in a coroutine"),
    ],
)
def test_client_is_refused_in_a_forked_process_and_goes_on_in_its_own(program: str) -> None:
    done = run(program)
    refusal, *rest = done.stdout.splitlines()
    assert refusal.startswith("this client belongs to process ")
    assert "make a new client here" in refusal
    assert (rest, done.returncode) == (["child 7", "parent peer"], 0), done.stderr


def test_new_client_works_in_a_forked_process() -> None:
    done = run(SYNC.format(call='print("new", Client(sys.argv[1], retries=0).capabilities().version, flush=True)'))
    assert done.stdout.splitlines() == ["new peer", "child 7", "parent peer"], done.stderr
