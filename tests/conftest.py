"""Fixtures for all rooms."""

import shutil
from collections.abc import Iterator

import pytest

from tests.client.certificates import Certificates, made_in
from tests.servers import ServerProcess, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One real server for every test that does not change it."""
    with running_server() as process:
        yield process


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA and what it signed, for servers and clients over TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl, which makes the certificates for this test, is not installed")
    return made_in(tmp_path_factory.mktemp("certificates"))
