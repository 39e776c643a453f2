"""The port of the metrics: who may listen where, and connections that ask for nothing."""

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from pruning_service.addresses import host_and_port
from pruning_service.local_settings import SettingsError
from pruning_service.observability.metrics_server import metrics_served


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
    with metrics_served("127.0.0.1:0", CollectorRegistry(), idle_seconds=0.1) as address:
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
