"""What one call makes a server hold beyond its reservation, also when its client leaves, and right after its end."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_proto.limits import MIB
from tests.campaigns.calls import line_to
from tests.campaigns.cuts import SMALL
from tests.campaigns.observed import RESERVED, anonymous_bytes, gauge
from tests.campaigns.targets.worst_calls import Messages, groups, indices, patterns, weights
from tests.servers import ServerProcess, running_server
from tests.service.raw import prune, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


def above_reserved(server: ServerProcess, before: int) -> float:
    """Return what a server holds beyond what is reserved, which may change meanwhile."""
    first = gauge(server, RESERVED)
    held = anonymous_bytes(server.process.pid) - before
    return held - max(first, gauge(server, RESERVED))


@pytest.mark.parametrize("messages", [indices, weights])
def test_call_holds_little_more_than_it_reserved(messages: Callable[[], Messages]) -> None:
    made, samples = messages(), list[float]()
    with running_server() as server:
        prune(server.address, SMALL)
        before = anonymous_bytes(server.process.pid)
        with line_to(server.address) as line:
            calling = threading.Thread(target=lambda: list(line.unread(made)))
            calling.start()
            while calling.is_alive() or gauge(server, RESERVED):
                samples.append(above_reserved(server, before))
        samples.append(above_reserved(server, before))
    assert max(samples) < 26 * MIB, max(samples) / MIB  # 30 to 40 with less reserved, or if what is freed stays


@pytest.mark.parametrize("messages", [groups, patterns])
def test_abandoned_plan_is_freed_with_its_reservation(messages: Callable[[], Messages]) -> None:
    made = messages()
    with running_server() as server:
        prune(server.address, SMALL)
        before = anonymous_bytes(server.process.pid)
        with line_to(server.address) as line:
            call = line.unread(made)
            assert wait_until(lambda: gauge(server, RESERVED) > 128 * MIB)
            time.sleep(1)  # it is planned
            call.cancel()
            assert wait_until(lambda: gauge(server, RESERVED) == 0)
        assert anonymous_bytes(server.process.pid) - before < 40 * MIB  # 56 to 94 if its errors keep it
