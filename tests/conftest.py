"""Fixtures for all tests, and the conditions under which each of them runs."""

import shutil
import signal
from collections.abc import Iterator

import pytest

from tests.client.certificates import Certificates, made_in
from tests.servers import ServerProcess, running_server


def pytest_configure() -> None:
    """Let Ctrl-C interrupt, here and in children, also where a shell started the run in the background and ignores it.

    A handler of Python's is not inherited: a program that is executed begins with the system's default.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
