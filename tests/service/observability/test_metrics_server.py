"""The port of the metrics: who may listen where, and connections that ask for nothing."""

import os
import resource
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pruning_service.addresses import host_and_port
from pruning_service.local_settings import SettingsError
from pruning_service.observability.metrics_server import CONNECTIONS, metrics_served
from tests.servers import running_server
from tests.service.raw import wait_until


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def status_of(address: str) -> int:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as response:
        return int(response.status)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        pytest.param("[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_metrics_are_where_they_are_said_to_be(host: str) -> None:
    with metrics_served(f"{host}:0", CollectorRegistry()) as address:
        assert address.startswith(f"{host}:")
        assert status_of(address) == 200


def test_connection_that_asks_for_nothing_is_let_go_of_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    with metrics_served("127.0.0.1:0", CollectorRegistry(), request_seconds=0.1) as address:
        with socket.create_connection(host_and_port(address, ""), timeout=20) as line:
            assert line.recv(1) == b""
        assert status_of(address) == 200
    assert capfd.readouterr().err == ""


def test_port_in_use_is_refused() -> None:
    with (
        metrics_served("127.0.0.1:0", CollectorRegistry()) as address,
        pytest.raises(SettingsError, match=f"cannot serve metrics on {address}"),
        metrics_served(address, CollectorRegistry()),
    ):
        pass


def test_request_that_comes_slowly_has_a_deadline() -> None:
    with metrics_served("127.0.0.1:0", CollectorRegistry(), request_seconds=0.5) as address:
        with socket.create_connection(host_and_port(address, ""), timeout=20) as line, suppress(OSError):
            for _ in range(1000):
                line.sendall(b"GET")  # the line never ends
                time.sleep(0.02)
            pytest.fail("the connection outlived its deadline")
        assert status_of(address) == 200


def test_many_connections_have_few_threads_and_keep_nobody_waiting() -> None:
    with metrics_served("127.0.0.1:0", CollectorRegistry()) as address, ExitStack() as lines:
        before = threading.active_count()
        for _ in range(5 * CONNECTIONS):
            lines.enter_context(socket.create_connection(host_and_port(address, ""), timeout=20))
        assert status_of(address) == 200
        assert wait_until(lambda: threading.active_count() - before <= 2 * CONNECTIONS)  # each has a timer's too


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux limits another process")
def test_lack_of_descriptors_is_no_busy_loop() -> None:
    with running_server() as server, ExitStack() as lines:
        pid = server.process.pid
        opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for _ in range(3):
            lines.enter_context(socket.create_connection(host_and_port(server.metrics_address, ""), timeout=20))
        before = cpu_seconds(pid)
        time.sleep(2)
        assert cpu_seconds(pid) - before < 1


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process. Source: proc(5), stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
