"""An idle server returns the memory that calls have freed."""

import asyncio
import os
from pathlib import Path

import pytest

from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_service.resources.process_memory import trim_when_idle
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


def test_memory_that_becomes_free_later_is_given_back_too() -> None:
    blocks = [bytes(64 * 1024) for _ in range(1024)]
    held = blocks[::64]  # between the others, so that malloc itself returns nothing

    async def at_rest() -> int:
        async with trim_when_idle([], rest_seconds=0.05):
            before = anonymous_bytes(os.getpid())
            blocks.clear()
            for _ in range(200):
                await asyncio.sleep(0.05)
                if (freed := before - anonymous_bytes(os.getpid())) > 48 * MIB:
                    break
            return freed

    assert asyncio.run(at_rest()) > 48 * MIB
    assert held
