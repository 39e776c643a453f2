"""What callers without a token can make a server hold: messages that are never finished or never end, connections."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from pruning_proto.limits import MESSAGE_BYTES, MIB
from pruning_proto.names import PRUNE_PATH
from tests.campaigns.observed import anonymous_bytes
from tests.campaigns.targets.strangers import STRANGERS
from tests.servers import ServerProcess, running_server
from tests.service.http2 import unfinished_calls
from tests.service.raw import wait_until
from tests.service.secured import capabilities_on, health_of, token_file

CAPABILITIES_PATH = "/pruning.v1.PruningService/GetCapabilities"
HEALTH = "/grpc.health.v1.Health/"
SERVING = health_pb2.HealthCheckResponse.SERVING
LONG = bytes(MESSAGE_BYTES - 64)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that asks for tokens."""
    with running_server(token_file=str(token_file(tmp_path))) as server:
        yield server


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("paths", "repeat"),
    [
        pytest.param([CAPABILITIES_PATH], 0, id="GetCapabilities"),
        pytest.param([HEALTH + "Check", HEALTH + "Watch"], 0, id="health"),
        pytest.param([PRUNE_PATH], 3, id="Prune"),
        pytest.param([CAPABILITIES_PATH, HEALTH + "Check", PRUNE_PATH], 3, id="all"),
    ],
)
def test_sixty_unfinished_calls_hold_little_memory(asking: ServerProcess, paths: list[str], repeat: int) -> None:
    health_of(asking.address)
    before = anonymous_bytes(asking.process.pid)
    with unfinished_calls(asking.address, paths * (60 // len(paths)), LONG, repeat):
        assert anonymous_bytes(asking.process.pid) < before + 64 * MIB  # 243 without the limits
        assert health_of(asking.address) == SERVING


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["overlong health messages", "overlong messages that watch"])
def test_overlong_health_messages_hold_little_memory(asking: ServerProcess, kind: str) -> None:
    health_of(asking.address)
    before = anonymous_bytes(asking.process.pid)
    with STRANGERS[kind](asking.address, 60):
        answers = [(health_of(asking.address), anonymous_bytes(asking.process.pid)) for _ in range(60)]
    assert {status for status, _ in answers} == {SERVING}
    assert max(held for _, held in answers) < before + 48 * MIB  # 100 to 200 if their messages are kept


def test_unary_call_is_refused_before_its_message(asking: ServerProcess) -> None:
    over = Event()

    def never() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    with grpc.insecure_channel(asking.address) as channel:
        ask: Any = channel.stream_unary(CAPABILITIES_PATH)
        call = ask.future(never(), timeout=60)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        over.set()


def test_connections_above_the_most_are_closed() -> None:
    with running_server(max_connections="2") as server, ExitStack() as lines:
        host, _, port = server.address.rpartition(":")
        first = lines.enter_context(socket.create_connection((host, int(port))))
        lines.enter_context(socket.create_connection((host, int(port))))
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            capabilities_on(channel)(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        first.close()
        assert wait_until(lambda: is_served(server))


def is_served(server: ServerProcess) -> bool:
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            return bool(capabilities_on(channel)(b"", timeout=20))
        except grpc.RpcError:
            return False
