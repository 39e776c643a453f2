"""Several addresses of one server: the error is about the one where something listens."""

import socket
from collections.abc import Iterator

import pytest

from pruning_client import Tls
from pruning_client.errors import UnavailableError
from tests.client.both import BOTH, Connect
from tests.client.certificates import Certificates
from tests.client.peers import peer

pytestmark = BOTH


@pytest.fixture
def addresses(certificates: Certificates) -> Iterator[list[str]]:
    """Two addresses of this machine; a server with TLS listens on the first, and nothing on the second."""
    with peer(credentials=certificates.credentials()) as address:
        port = int(address.rpartition(":")[2])
        with socket.socket() as other:  # nobody else listens there meanwhile
            other.bind(("127.0.0.2", port))
            yield [address, f"127.0.0.2:{port}"]


def test_untrusted_certificate_is_the_headline(addresses: list[str], connect: Connect) -> None:
    tls = Tls(server_name="localhost")
    with connect(addresses, tls=tls, retries=0) as client, pytest.raises(UnavailableError) as caught:
        client.capabilities()
    assert "no CA that this client trusts signed the server's certificate" in str(caught.value)
    assert "refused" not in str(caught.value)


def test_other_name_is_the_headline(addresses: list[str], connect: Connect, certificates: Certificates) -> None:
    tls = Tls(ca=certificates.ca, server_name="another.example")
    with connect(addresses, tls=tls, retries=0) as client, pytest.raises(UnavailableError) as caught:
        client.capabilities()
    assert "the server's certificate is for another name" in str(caught.value)


def test_missing_tls_is_the_headline(addresses: list[str], connect: Connect) -> None:
    with connect(addresses, retries=0) as client, pytest.raises(UnavailableError) as caught:
        client.capabilities()
    assert "if it speaks TLS give tls=True" in str(caught.value)


def test_nobody_at_any_address_is_said(connect: Connect) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        both = [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
        with connect(both, retries=0) as client, pytest.raises(UnavailableError, match="refused"):
            client.capabilities()
