"""The command line's options about a server -> a client of it. What is wrong with them is told by their names."""

from argparse import Namespace
from pathlib import Path
from typing import Final

from pruning_client.cli.arguments import UsageError
from pruning_client.clients.sync import Client
from pruning_client.transport.channel import Target, check
from pruning_client.transport.credentials import Tls, Token, checked
from pruning_client.transport.retry import RETRIES

_OPTIONS: Final = {
    "tls": "--tls",
    "tls_ca": "--tls-ca",
    "tls_cert": "--tls-cert",
    "tls_key": "--tls-key",
    "tls_server_name": "--tls-server-name",
    "token_file": "--token-file",
    "retries": "--retries",
}


def connect(options: Namespace) -> Client:
    """Give a client of the server, or servers, that the options name.

    Raises: UsageError if they do not fit each other. OSError if a file cannot be read.
    """
    target = _target(options.server)
    token = None if options.token_file is None else _token_of(options.token_file)
    retries = RETRIES if options.retries is None else options.retries
    try:
        return Client(target, tls=_tls(options), token=token, timeout=options.timeout, retries=retries)
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_local(options: Namespace) -> None:
    """Refuse, for a server of one's own, what only means something for another. Raises: UsageError."""
    given = [flag for name, flag in _OPTIONS.items() if getattr(options, name)]
    if given:
        raise UsageError(f"{', '.join(given)}: without --server no network is used; name the server, or leave this out")


def _target(servers: list[str]) -> Target:
    target = servers[0] if len(servers) == 1 else servers
    try:
        check(target)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from error
    return target


def _tls(options: Namespace) -> Tls | bool:
    tls = Tls(ca=options.tls_ca, certificate=options.tls_cert, key=options.tls_key, server_name=options.tls_server_name)
    return options.tls if tls == Tls() else tls


def _token_of(file: Path) -> Token:
    """Give what reads a token, so that one that is renewed is seen; read once at the start, to be refused early."""

    def read() -> str:
        try:
            return checked(file.read_bytes().decode("ascii", "replace"))
        except ValueError as error:
            raise UsageError(f"--token-file: {file}: {error}") from error

    read()
    return read
