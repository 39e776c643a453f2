"""The service without --server: for now a child process, for as long as a command runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from pruning_client.cli.local_server import check_installed, embedded_server
from pruning_client.clients.sync import Client
from pruning_client.errors import UnavailableError


def check_service_installed() -> None:
    """Raise UnavailableError, saying what to install, if the server's packages are missing."""
    check_installed()


@contextmanager
def local_service(timeout: float | None) -> Iterator[Client]:
    """Return a client of a server of this command's own."""
    with embedded_server() as server, Client(server.address, timeout=timeout, retries=0) as client:
        try:
            yield client
        except UnavailableError as error:
            exit_error = server.exit_error()
            if exit_error is None:
                raise
            raise exit_error from error
