"""An idle server returns the memory that calls have freed."""

import subprocess
import sys
from pathlib import Path

import pytest

from pruning_proto.limits import CHUNK_BYTES, MIB
from scripts.environments import ROOT
from tests.campaigns.calls import encoded, line_to
from tests.campaigns.cuts import model
from tests.campaigns.observed import anonymous_bytes, seconds_until_free
from tests.servers import running_server
from tests.service.raw import data, options, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

LARGE = model(8, MIB // 16)


def test_memory_of_a_crowd_of_calls_is_given_back_at_rest() -> None:
    messages = encoded([options(LARGE), *data(LARGE, CHUNK_BYTES)])
    with running_server(backlog_bytes=str(MIB)) as server:
        before = anonymous_bytes(server.process.pid)
        with line_to(server.address) as line:
            calls = [line.unread(messages) for _ in range(16)]
            assert wait_until(lambda: anonymous_bytes(server.process.pid) > before + 96 * MIB)
        del calls  # cancelled with their connection
        seconds_until_free(server)

        assert wait_until(lambda: anonymous_bytes(server.process.pid) < before + 48 * MIB)


FREED_LATER = """
import asyncio, os
from pruning_service.resources.process_memory import trim_when_idle
from tests.campaigns.observed import anonymous_bytes

blocks = [b"1" * (64 * 1024) for _ in range(1024)]  # not zeros, which may be memory that is not there yet
held = blocks[::64]  # between the others, so that malloc itself returns nothing

async def at_rest():
    async with trim_when_idle([], rest_seconds=0.05):
        before = anonymous_bytes(os.getpid())
        blocks.clear()
        while before - anonymous_bytes(os.getpid()) <= 48 << 20:
            await asyncio.sleep(0.05)

asyncio.run(asyncio.wait_for(at_rest(), 60))
"""
"""A process of its own: what other tests left in the heap decides what malloc does with it."""


def test_memory_that_becomes_free_later_is_given_back_too() -> None:
    subprocess.run([sys.executable, "-c", FREED_LATER], cwd=ROOT, check=True)


WITHOUT_FILES = """
import asyncio, resource
from pruning_service.resources import process_memory

async def at_rest():
    async with process_memory.trim_when_idle([], rest_seconds=0.02):
        await asyncio.sleep(0)  # it has begun
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
        await asyncio.sleep(0.2)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        trimmed = asyncio.Event()
        loop = asyncio.get_running_loop()
        process_memory.trim = lambda: loop.call_soon_threadsafe(trimmed.set)
        await asyncio.wait_for(trimmed.wait(), 60)

asyncio.run(at_rest())
"""


def test_memory_is_given_back_after_a_lack_of_file_descriptors() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_FILES], cwd=ROOT, check=True)


NAMES = """
import asyncio, sys
from pruning_service.resources.process_memory import trim_when_idle

class Anything:
    pass

def references():
    return sum(map(sys.getrefcount, names))

async def at_rest():
    assert not any(getattr(Anything(), name, None) for name in names)
    assert references() > unknown, "this Python keeps no names: nothing is to be forgotten"
    async with trim_when_idle([], rest_seconds=0.02):
        while references() > unknown:
            await asyncio.sleep(0.02)

names = [f"name {number}" for number in range(1000)]  # made now, as numpy and protobuf make theirs for one lookup
unknown = references()
asyncio.run(asyncio.wait_for(at_rest(), 60))
"""


def test_names_that_were_looked_up_once_are_freed_at_rest() -> None:
    subprocess.run([sys.executable, "-c", NAMES], cwd=ROOT, check=True)
