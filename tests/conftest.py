"""Fixtures for all rooms."""

from collections.abc import Iterator

import pytest

from tests.servers import ServerProcess, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One real server for every test that does not change it."""
    with running_server() as process:
        yield process
