"""Addresses of servers."""

import pytest

from pruning_client.channel import check


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051",
        "gpu-box.example:1",
        "10.0.0.1:50051",
        "[::1]:50051",
        "unix:/run/prune.sock",
        "dns:///pruning:50051",
    ],
)
def test_address_is_host_and_port_or_has_a_scheme_of_grpc(target: str) -> None:
    check(target)


@pytest.mark.parametrize(
    "target",
    ["localhost", "http://localhost:50051", "localhost:port", "localhost:99999", ":50051", "", "a b:1", "unix:"],
)
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT or unix:/PATH"):
        check(target)
