"""How both clients get to a server, and what they say where they do not: TLS, tokens, several addresses."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from pruning_client import Client, Tls, rules
from pruning_client.errors import AuthenticationError, UnavailableError
from tests.client.both import BOTH, Connect
from tests.client.certificates import SERVER_NAME, Certificates
from tests.client.peers import free_address, peer, web_server
from tests.client.tiny_files import weight, written

How: TypeAlias = Callable[[Certificates], Tls | bool | None]
Where: TypeAlias = Callable[[Certificates], AbstractContextManager[str]]
"""Something that listens, and may need certificates to."""

HALF = rules.l1_unstructured(0.5)
TOKEN = "s3cret-t0ken"  # noqa: S105 - opens nothing


@contextmanager
def nobody(_: Certificates) -> Iterator[str]:
    yield free_address()


@contextmanager
def no_such_host(_: Certificates) -> Iterator[str]:
    yield "no-such-host.invalid:50051"


def in_the_clear(_: Certificates) -> AbstractContextManager[str]:
    return peer()


def over_tls(certificates: Certificates) -> AbstractContextManager[str]:
    return peer(credentials=certificates.credentials())


def under_another_name(certificates: Certificates) -> AbstractContextManager[str]:
    return peer(credentials=certificates.credentials(certificates.named))


def asking_clients(certificates: Certificates) -> AbstractContextManager[str]:
    return peer(credentials=certificates.credentials(asks_clients=True))


def http1(_: Certificates) -> AbstractContextManager[str]:
    return web_server()


def no_tls(_: Certificates) -> None:
    """In the clear."""


def any_ca(_: Certificates) -> bool:
    return True


def our_ca(certificates: Certificates) -> Tls:
    return Tls(ca=certificates.ca)


def another_ca(certificates: Certificates) -> Tls:
    return Tls(ca=certificates.stranger.certificate)


def as_stranger(certificates: Certificates) -> Tls:
    stranger = certificates.stranger
    return Tls(ca=certificates.ca, certificate=stranger.certificate, key=stranger.key)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", weight(1, 2))


@BOTH
def test_tls_with_the_right_ca_reaches_the_server(connect: Connect, certificates: Certificates) -> None:
    with over_tls(certificates) as address, connect(address, tls=Tls(ca=certificates.ca)) as client:
        assert client.capabilities().version == "peer"


@BOTH
def test_pem_may_be_given_as_bytes(connect: Connect, certificates: Certificates) -> None:
    with over_tls(certificates) as address, connect(address, tls=Tls(ca=certificates.ca.read_bytes())) as client:
        assert client.capabilities().version == "peer"


@BOTH
def test_server_name_stands_in_for_the_host(connect: Connect, certificates: Certificates) -> None:
    tls = Tls(ca=certificates.ca, server_name=SERVER_NAME)
    with under_another_name(certificates) as address, connect(address, tls=tls) as client:
        assert client.capabilities().version == "peer"


@BOTH
def test_client_shows_its_certificate_to_a_server_that_asks(connect: Connect, certificates: Certificates) -> None:
    tls = Tls(ca=certificates.ca, certificate=certificates.client.certificate, key=certificates.client.key)
    with asking_clients(certificates) as address, connect(address, tls=tls) as client:
        assert client.capabilities().version == "peer"


@BOTH
@pytest.mark.parametrize(
    ("where", "how", "message"),
    [
        pytest.param(nobody, no_tls, "Connection refused.*prune serve --listen HOST:PORT", id="nobody"),
        pytest.param(no_such_host, no_tls, "there is no host of this name", id="no such host"),
        pytest.param(http1, no_tls, "speaks HTTP/1 and not gRPC", id="HTTP/1"),
        pytest.param(http1, our_ca, "speaks no TLS", id="HTTP/1, TLS here"),
        pytest.param(in_the_clear, our_ca, "speaks no TLS: leave TLS out", id="TLS here only"),
        pytest.param(over_tls, no_tls, "if it speaks TLS give tls=True, --tls", id="TLS there only"),
        pytest.param(over_tls, another_ca, r"no CA that this client trusts.*Tls\(ca=", id="other CA"),
        pytest.param(over_tls, any_ca, r"no CA that this client trusts.*Tls\(ca=", id="CA not given"),
        pytest.param(under_another_name, our_ca, r"for another name.*Tls\(server_name=", id="other name"),
        pytest.param(asking_clients, our_ca, r"asks for the client's.*Tls\(certificate=", id="no certificate"),
        pytest.param(asking_clients, as_stranger, "give one that it knows", id="unknown certificate"),
    ],
)
def test_connection_that_fails_fails_at_once_and_says_what_to_do(
    connect: Connect,
    certificates: Certificates,
    where: Where,
    how: How,
    message: str,
) -> None:
    with (
        where(certificates) as address,
        connect(address, tls=how(certificates), insecure=how is no_tls, retries=0, timeout=60) as client,
        pytest.raises(UnavailableError, match=message) as caught,
    ):
        client.capabilities()
    assert address in str(caught.value)


def test_server_that_was_away_for_a_while_is_found_soon_after_its_return() -> None:
    address = free_address()
    with Client(address, retries=0) as client:
        with pytest.raises(UnavailableError):
            client.capabilities()
        time.sleep(3)  # gRPC's own waits between two tries to connect have grown to 2.5 s by now
        with peer(listen=address):
            assert _answers(client, calls=40)  # two seconds; gRPC's own next try would come later


@BOTH
def test_clients_share_no_connection(connect: Connect) -> None:
    with peer() as address, connect(address) as one, connect(address) as other:
        assert one.capabilities().devices != other.capabilities().devices
        assert one.capabilities().devices == one.capabilities().devices


@BOTH
def test_calls_take_turns_among_addresses(connect: Connect) -> None:
    with peer("a") as first, peer("b") as second, connect([first, second]) as client:
        assert _met(client, {"a", "b"})


@BOTH
def test_address_where_nobody_listens_is_passed_over(connect: Connect) -> None:
    with peer() as address, connect([free_address(), address], retries=0) as client:
        assert {client.capabilities().version for _ in range(10)} == {"peer"}


@BOTH
def test_addresses_where_nobody_listens_are_all_named(connect: Connect) -> None:
    addresses = [free_address(), free_address()]
    with (
        connect(addresses, retries=0) as client,
        pytest.raises(UnavailableError, match=f"no pruning server answers at {', '.join(addresses)}"),
    ):
        client.capabilities()


@BOTH
def test_several_addresses_share_one_name_over_tls(connect: Connect, certificates: Certificates) -> None:
    named = certificates.credentials(certificates.named)
    tls = Tls(ca=certificates.ca, server_name=SERVER_NAME)
    with (
        peer("a", credentials=named) as first,
        peer("b", credentials=named) as second,
        connect([first, second], tls=tls) as client,
    ):
        assert _met(client, {"a", "b"})


@pytest.mark.parametrize("target", ["[sys.argv[1]]", "sys.argv[1]", "[sys.argv[1], sys.argv[1]]"])
def test_no_proxy_is_asked_for_this_machine(target: str) -> None:
    program = f"import sys; from pruning_client import Client; print(Client({target}).capabilities().version)"
    environment = {**os.environ, "http_proxy": f"http://{free_address()}", "no_proxy": ""}
    with peer() as address:
        done = subprocess.run(
            [sys.executable, "-c", program, address], env=environment, capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("peer\n", 0), done.stderr


@BOTH
def test_token_goes_with_every_call(connect: Connect, certificates: Certificates, file: Path) -> None:
    tls = Tls(ca=certificates.ca)
    with (
        peer(credentials=certificates.credentials(), tokens=[TOKEN]) as address,
        connect(address, tls=tls, token=TOKEN) as client,
    ):
        assert client.capabilities().version == "peer"
        assert client.plan(file, HALF).tensors == ()


@BOTH
def test_token_goes_to_this_machine_in_the_clear(connect: Connect, tmp_path: Path) -> None:
    with (
        peer(listen=f"unix:{tmp_path}/socket", tokens=[TOKEN]) as address,
        connect(address, token=TOKEN) as client,
    ):
        assert client.capabilities().version == "peer"


@BOTH
def test_token_is_asked_for_anew_each_time(connect: Connect, tmp_path: Path) -> None:
    file, wanted = tmp_path / "token", [TOKEN]
    file.write_text(TOKEN)
    with peer(tokens=wanted) as address, connect(address, token=file.read_text) as client:
        client.capabilities()
        wanted[:] = ["renewed"]
        file.write_text("renewed\n")
        assert client.capabilities().version == "peer"


@BOTH
@pytest.mark.parametrize("token", [None, TOKEN], ids=["none", "another"])
@pytest.mark.parametrize("ask", [lambda client, _: client.capabilities(), lambda client, file: client.plan(file, HALF)])
def test_token_that_the_server_does_not_accept_is_said_and_not_shown(
    connect: Connect, token: str | None, ask: Callable[[Client, Path], object], file: Path
) -> None:
    with (
        peer(tokens=["another"]) as address,
        connect(address, token=token) as client,
        pytest.raises(AuthenticationError, match=r"does not know this caller .*--token-file") as caught,
    ):
        ask(client, file)
    assert caught.value.attempts == 1
    assert TOKEN not in str(caught.value)


@BOTH
def test_token_that_cannot_be_had_is_the_callers_own_error(connect: Connect, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with peer() as address, connect(address, token=missing.read_text) as client, pytest.raises(FileNotFoundError):
        client.capabilities()


def _answers(client: Client, calls: int) -> bool:
    """Whether one of so many calls is answered, with 50 ms between two of them."""
    for _ in range(calls):
        with suppress(UnavailableError):
            client.capabilities()
            return True
        time.sleep(0.05)
    return False


def _met(client: Client, names: set[str]) -> bool:
    """Whether all of `names` answer within some calls: the second connection is made while the first answers."""
    met: set[str] = set()
    for _ in range(500):
        met.add(client.capabilities().version)
        if met == names:
            return True
    return False
