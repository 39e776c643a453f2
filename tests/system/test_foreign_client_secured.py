"""The foreign client of `test_foreign_client` at a server with mTLS and tokens: what it shows, and what it receives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.certificates import Certificates
from tests.servers import ServerProcess, running_server
from tests.service.secured import TOKEN, over_tls, token_file
from tests.system.test_foreign_client import L1_HALF, answers, call, details_of, request, schema_in


@pytest.fixture(scope="module")
def secured(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    tokens = token_file(tmp_path_factory.mktemp("tokens"))
    settings = over_tls(certificates.server, tls_client_ca=str(certificates.ca), token_file=str(tokens))
    with running_server(**settings) as server:
        yield server


@pytest.fixture
def tls(certificates: Certificates) -> list[str]:
    own = certificates.client
    return ["--cacert", str(certificates.ca), "--cert", str(own.certificate), "--key", str(own.key)]


def knowing(token: str) -> list[str]:
    """Return the options of one who asks the server by reflection, with a token."""
    return ["--reflect-protocol", "grpc-v1alpha", "--reflect-header", "*", "-H", f"authorization: Bearer {token}"]


def test_file_comes_back_over_mtls_with_a_token(secured: ServerProcess, tls: list[str]) -> None:
    done = call(secured, "Prune", [*tls, *knowing(TOKEN)], request(L1_HALF), scheme="https")
    assert done.returncode == 0, done.stderr
    *_, last = answers(done.stdout)
    assert last["report"]["totals"]["pruned"] == "3"


def test_reflection_without_the_token_tells_nothing(secured: ServerProcess, tls: list[str]) -> None:
    done = call(secured, "GetCapabilities", [*tls, *knowing("another-token-than-that")], [{}], scheme="https")
    assert done.returncode != 0
    assert "failed to find service" in done.stderr


def test_refusal_is_told_with_its_reason(secured: ServerProcess, tls: list[str], tmp_path: Path) -> None:
    done = call(secured, "Prune", [*tls, *schema_in(tmp_path)], request(L1_HALF), scheme="https")
    assert "google.rpc.ErrorInfo" in details_of(done)
    (answer,) = answers(done.stdout)
    assert answer["failure"]["reason"] == "UNAUTHENTICATED"
