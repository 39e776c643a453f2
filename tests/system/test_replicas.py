"""More than one replica: behind the client's own turns, and behind Envoy. In full: `make soak`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pruning_client import Client
from tests.campaigns.figures import complaints
from tests.campaigns.names import name_server
from tests.campaigns.observed import has_been_called
from tests.campaigns.proxies import free_port
from tests.campaigns.replicas import Replicas, replaced, replicas
from tests.servers import ServerProcess, running_server
from tests.service.raw import wait_until


@pytest.fixture(scope="module")
def three() -> Iterator[Replicas]:
    with replicas() as running:
        yield running


def is_called(client: Client, server: ServerProcess) -> bool:
    """Call any server; return whether this or an earlier call came to `server`."""
    client.capabilities()
    return has_been_called(server, "GetCapabilities")


@pytest.mark.timeout(300)  # the first time, Envoy is installed
@pytest.mark.parametrize(
    ("path", "client"),
    [("round-robin", "Client"), pytest.param("Envoy", "AsyncClient", marks=pytest.mark.integration)],
)
def test_no_call_fails_while_one_is_killed_one_added_and_one_drained(
    three: Replicas, tmp_path: Path, path: str, client: str
) -> None:
    figures = replaced(three, tmp_path, client, path, rounds=1)
    assert figures.tried > 3
    assert complaints(figures) == ""


def test_server_that_comes_later_to_its_place_in_a_list_gets_calls(server: ServerProcess) -> None:
    """A list does not grow; who is away in it is looked for again every second."""
    later = f"127.0.0.1:{free_port()}"
    with Client([server.address, later], retries=0) as client:
        client.capabilities()
        with running_server(listen=later) as added:
            assert wait_until(lambda: is_called(client, added))


def test_server_that_is_added_to_a_name_is_found_though_no_other_went() -> None:
    """A client looks a name up again when a connection ends, and servers end those that have grown old."""
    port = free_port()
    with ExitStack() as stack:
        names = stack.enter_context(name_server())
        names.addresses = ["127.0.0.1"]
        stack.enter_context(running_server(listen=f"127.0.0.1:{port}", connection_age_seconds="1"))
        client = stack.enter_context(Client(names.target(port), insecure=True, retries=0))
        client.capabilities()
        added = stack.enter_context(running_server(listen=f"127.0.0.2:{port}"))
        names.addresses.append("127.0.0.2")
        assert wait_until(lambda: is_called(client, added))
