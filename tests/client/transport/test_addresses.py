"""Addresses of servers."""

import pytest

from pruning_client import Client, Tls
from pruning_client.transport.addresses import check, name_of
from tests.client.both import BOTH, Connect

TOKEN = "s3cret-t0ken"  # noqa: S105 - opens nothing


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051",
        "gpu-box.example:1",
        "10.0.0.1:50051",
        "[::1]:50051",
        "unix:/run/prune.sock",
        "dns:///pruning:50051",
        ["10.0.0.1:50051", "10.0.0.2:50051"],
        ("[fe80::1]:50051", "[::1]:50052"),
        ["localhost:50051", "127.0.0.1:50052"],
        ["gpu-box.example:1"],
    ],
    ids=str,
)
def test_address_is_host_and_port_or_has_a_scheme_of_grpc_or_several_are_ip_addresses(target: str | list[str]) -> None:
    check(target)


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "http://localhost:50051",
        "localhost:port",
        "localhost:99999",
        ":50051",
        "",
        "a b:1",
        "unix:",
        "a:1,b:1",
    ],
)
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT or unix:/PATH"):
        check(target)
    with pytest.raises(ValueError, match="HOST:PORT or unix:/PATH"):
        check(["localhost:50051", target])


@pytest.mark.parametrize(
    "targets",
    [["gpu-1:1", "gpu-2:1"], ["10.0.0.1:1", "[::1]:1"], ["unix:/a", "unix:/b"], ["127.0.0.1:1", "dns:///a:1"]],
    ids=["names", "IPv4 and IPv6", "sockets", "name with a scheme"],
)
def test_several_addresses_that_grpc_cannot_take_are_refused_with_what_to_do(targets: list[str]) -> None:
    with pytest.raises(ValueError, match="all IPv4 or all IPv6; for hosts by name give one DNS name"):
        check(targets)


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="the list is empty"):
        check([])


@pytest.mark.parametrize("target", [50051, None, [("localhost", 50051)], b"localhost:1"], ids=str)
def test_what_is_no_string_is_refused(target: object) -> None:
    with pytest.raises(TypeError, match="a server's address is a string, HOST:PORT or unix:/PATH; got"):
        Client(target)  # type: ignore[arg-type]


def test_messages_name_every_address() -> None:
    assert name_of(["10.0.0.1:1", "10.0.0.2:1"]) == "10.0.0.1:1, 10.0.0.2:1"


ELSEWHERE = pytest.mark.parametrize(
    "target",
    [
        "gpu-box:50051",
        "unix-box:50051",
        "localhost.evil.example:1",
        "127.evil.example:1",
        "[::]:1",
        "dns:///pruning-service.pruning.svc:50051",
        "dns://10.0.0.1/localhost:1",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "ipv6:[2001:db8::1]:1",
        "vsock:2:1",
        "xds:localhost:1",
        ["127.0.0.1:1", "10.0.0.1:1"],
    ],
    ids=str,
)


@ELSEWHERE
@pytest.mark.parametrize("insecure", [False, True])
def test_token_does_not_leave_this_machine_in_the_clear(target: str | list[str], insecure: bool) -> None:
    with pytest.raises(ValueError, match=r"a token goes over TLS only, or to this machine: give tls=True \(--tls\)"):
        Client(target, token=TOKEN, insecure=insecure)


@ELSEWHERE
@BOTH
def test_model_leaves_this_machine_in_plaintext_only_if_asked(connect: Connect, target: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"give tls=True \(--tls\).*insecure=True \(--insecure\)"), connect(target):
        pass
    with connect(target, insecure=True):
        pass


def test_insecure_beside_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="leave out one of the two"):
        Client("gpu-box:1", tls=True, insecure=True)


@pytest.mark.parametrize(
    "target", ["LOCALHOST:1", "127.0.0.2:1", "[::1]:1", "unix:/socket", "dns:///localhost:1", "ipv4:127.0.0.1:1"]
)
def test_token_and_model_go_to_this_machine(target: str) -> None:
    Client(target, token=TOKEN).close()
    Client(target).close()


def test_several_addresses_over_tls_need_their_common_name() -> None:
    with pytest.raises(ValueError, match=r"Tls\(server_name=...\), --tls-server-name"):
        Client(["10.0.0.1:1", "10.0.0.2:1"], tls=True)
    Client(["10.0.0.1:1", "10.0.0.2:1"], tls=Tls(server_name="pruning.example")).close()
