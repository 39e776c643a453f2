"""Health on a port of its own: in the clear beside TLS, off the event loop, and honest about it."""

import asyncio
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from pruning_service.local_settings import SettingsError
from pruning_service.observability.health import HANGING_SECONDS, HealthPort, beat
from tests.client.certificates import Certificates
from tests.servers import running_server
from tests.service.raw import f32, file, options, wait_until
from tests.service.secured import health_of, open_call, over_tls, token_file

SERVICE = "pruning.v1.PruningService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
OPTIONS = options(file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))}))


def test_probe_needs_neither_tls_nor_a_token(certificates: Certificates, tmp_path: Path) -> None:
    secured = over_tls(certificates.server, tls_client_ca=str(certificates.ca), token_file=str(token_file(tmp_path)))
    with running_server("--health-listen", "127.0.0.1:0", **secured) as server:
        assert health_of(server.health_address) == health_of(server.health_address, SERVICE) == SERVING


def test_server_that_drains_says_not_serving_while_calls_run() -> None:
    with (
        running_server("--health-listen", "127.0.0.1:0", drain_seconds="20") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        with open_call(channel, OPTIONS):
            server.process.terminate()
            assert wait_until(lambda: health_of(server.health_address) == NOT_SERVING)
            assert server.process.poll() is None
        assert server.process.wait(20) == 0


class Loop:
    """An event loop in a thread that beats for a health port, and can be made to hang."""

    def __init__(self, port: HealthPort) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._beating = self._loop.create_task(beat(self._port))
        self._loop.run_forever()
        self._loop.run_until_complete(asyncio.gather(self._beating, return_exceptions=True))
        self._loop.close()

    def hang(self) -> None:
        self._loop.call_soon_threadsafe(self._go_on.wait, 60)

    def go_on(self) -> None:
        self._go_on.set()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._beating.cancel)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def test_event_loop_that_hangs_turns_health_off_and_one_that_runs_again_turns_it_on() -> None:
    port = HealthPort("127.0.0.1:0", SERVICE, hanging_seconds=0.5)
    loop = Loop(port)
    try:
        port.turn_on()
        assert wait_until(lambda: health_of(port.address) == SERVING)
        loop.hang()
        assert wait_until(lambda: health_of(port.address) == NOT_SERVING)
        loop.go_on()
        assert wait_until(lambda: health_of(port.address, SERVICE) == SERVING)
    finally:
        loop.go_on()
        loop.close()
        port.close()


def test_health_that_was_turned_off_stays_so() -> None:
    port = HealthPort("127.0.0.1:0", SERVICE)
    try:
        port.turn_on()
        port.turn_off()
        port.turn_on()
        assert health_of(port.address) == health_of(port.address, SERVICE) == NOT_SERVING
    finally:
        port.close()


def test_health_is_off_until_the_server_serves() -> None:
    port = HealthPort("127.0.0.1:0", SERVICE)
    try:
        assert health_of(port.address) == NOT_SERVING
    finally:
        port.close()


def test_port_in_use_is_refused() -> None:
    port = HealthPort("127.0.0.1:0", SERVICE)
    try:
        with pytest.raises(SettingsError, match=f"cannot serve health on {port.address}"):
            HealthPort(port.address, SERVICE)
    finally:
        port.close()


def test_bound_of_hanging_is_what_the_documents_say() -> None:
    security = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    assert f"{HANGING_SECONDS:g} s" in security
