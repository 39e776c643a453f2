"""Fixtures of the client's tests."""

import shutil

import pytest

from tests.client.certificates import Certificates, made_in


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA and what it signed, for servers and clients over TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl, which makes the certificates for this test, is not installed")
    return made_in(tmp_path_factory.mktemp("certificates"))
