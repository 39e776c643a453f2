"""How the log calls those who call."""

import pytest

from pruning_service.auth.callers import NOBODY, name_of


class Connection:
    """What gRPC tells of a connection's certificate."""

    def __init__(self, *identities: bytes) -> None:
        self._identities = identities

    def peer_identities(self) -> tuple[bytes, ...] | None:
        return self._identities or None


@pytest.mark.parametrize(
    ("token_name", "identities", "name"),
    [
        pytest.param(None, [], NOBODY, id="nobody is asked"),
        pytest.param("ci", [], "ci", id="token"),
        pytest.param(None, [b"spiffe://a/b"], "spiffe://a/b", id="certificate"),
        pytest.param(None, [b"a.example", b"b.example"], "a.example", id="certificate of several names"),
        pytest.param("ci", [b"a.example"], "ci,a.example", id="both"),
    ],
)
def test_caller_is_called_by_token_and_certificate(token_name: str | None, identities: list[bytes], name: str) -> None:
    assert name_of(token_name, Connection(*identities)) == name


def test_name_of_a_certificate_cannot_forge_a_line_of_the_log() -> None:
    forged = b"me outcome=OK\n2026-11-21 caller=root,\xff"
    assert name_of(None, Connection(forged)) == "me%20outcome%3DOK%0A2026-11-21%20caller%3Droot%2C%FF"
