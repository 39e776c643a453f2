"""The options that name a server, and the client of the server that they name. Errors are about the options."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pruning_client.cli.arguments import UsageError, number
from pruning_client.cli.places import opened_here
from pruning_proto.names import SERVER_VARIABLE

if TYPE_CHECKING:
    from pruning_client.clients.sync import Client
    from pruning_client.transport.credentials import Tls

_FOR_SERVERS: Final = {
    "tls": "--tls",
    "tls_ca": "--tls-ca",
    "tls_cert": "--tls-cert",
    "tls_key": "--tls-key",
    "tls_server_name": "--tls-server-name",
    "token_file": "--token-file",
    "insecure": "--insecure",
    "retries": "--retries",
}
"""The options that have a meaning only with --server."""


def add_server_options(command: ArgumentParser, without: str = "the file is pruned in this process") -> None:
    """Declare the options; `without` says what is done where no server is named."""
    server = command.add_argument_group("the server")
    server.add_argument(
        "--server",
        action="append",
        metavar="HOST:PORT",
        help=f"repeatable: calls take turns; default: the variable {SERVER_VARIABLE}, with spaces between several; "
        f"without both {without}",
    )
    server.add_argument(
        "--timeout",
        type=_timeout,
        metavar="SECONDS",
        help="inf: no limit; default with --server: 30 s, and 1 s more for every 10 MB; a "
        "call that makes progress may take longer",
    )
    server.add_argument(
        "--retries", type=_retries, metavar="N", help="how often a failed call may be tried again; default: 3"
    )
    server.add_argument("--tls", action="store_true", help="connect over TLS; implied by the --tls-... options below")
    server.add_argument(
        "--tls-ca", type=Path, metavar="FILE.pem", help="the CA of its certificate; default: the system's roots"
    )
    server.add_argument("--tls-cert", type=Path, metavar="FILE.pem", help="the client's certificate (mTLS)")
    server.add_argument("--tls-key", type=Path, metavar="FILE.pem", help="the certificate's private key")
    server.add_argument("--tls-server-name", metavar="NAME", help="the name in its certificate; default: HOST")
    server.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a token to send with each call; the file is read at each call"
    )
    server.add_argument(
        "--insecure",
        action="store_true",
        help="send models to another machine in plaintext, where a proxy or a mesh encrypts; tokens are never sent so",
    )


def take_server_of_environment(options: Namespace) -> None:
    """Set the servers of the environment's variable where the options name none.

    Raises: UsageError if the variable contains something else than addresses.
    """
    servers = os.environ.get(SERVER_VARIABLE, "").split()
    if options.server is None and servers:
        options.server = servers
        _check(servers, SERVER_VARIABLE)


def open_here(options: Namespace) -> None:
    """Have `file://` as paths, and refuse URIs of object stores where a server is to prune. Raises: UsageError."""
    take_server_of_environment(options)
    for name in {"source", "out", "statistics"} & vars(options).keys():
        setattr(options, name, opened_here(getattr(options, name)))
    uris = [
        str(place) for place in (options.source, getattr(options, "out", None), options.statistics) if _is_uri(place)
    ]
    if uris and options.server is not None:
        raise UsageError(f"{uris[0]}: object stores are opened by this process; leave out --server, or give a path")


def _is_uri(place: object) -> bool:
    return place is not None and not isinstance(place, Path)


def check_local(options: Namespace) -> None:
    """Refuse options that have no meaning without --server. Raises: UsageError."""
    flags = [flag for name, flag in _FOR_SERVERS.items() if getattr(options, name)]
    if flags:
        raise UsageError(f"{', '.join(flags)}: without --server no network is used; name the server, or leave this out")


def server_words(options: Namespace) -> list[str]:
    """Return the words that name the server of these options and how to reach it, for another command."""
    words = [word for server in options.server for word in ("--server", server)]
    for name, flag in _FOR_SERVERS.items():
        value = getattr(options, name)
        if name == "retries" or value is None or value is False:
            continue
        words += [flag] if value is True else [flag, str(value)]
    return words


def connect(options: Namespace) -> "Client":
    """Return a client of the server, or servers, that the options name.

    Raises: UsageError if they do not fit each other. OSError if a file cannot be read.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines about failed handshakes: our error has the same text
    from pruning_client.clients.sync import Client  # noqa: PLC0415 - gRPC is imported only for a server
    from pruning_client.transport.retry import RETRIES  # noqa: PLC0415

    retries = RETRIES if options.retries is None else options.retries
    target = _check(options.server, "--server")
    token = None if options.token_file is None else _token_of(options.token_file)
    try:
        return Client(
            target,
            tls=_tls(options),
            token=token,
            insecure=options.insecure,
            timeout=options.timeout,
            retries=retries,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check(servers: list[str], named_by: str) -> str | list[str]:
    """Return the target that the addresses are. Raises: UsageError that says what named them."""
    from pruning_client.transport.addresses import check  # noqa: PLC0415

    target = servers[0] if len(servers) == 1 else servers
    try:
        check(target)
    except ValueError as error:
        raise UsageError(f"{named_by}: {error}") from error
    return target


def _tls(options: Namespace) -> "Tls | bool":
    from pruning_client.transport.credentials import Tls  # noqa: PLC0415

    tls = Tls(ca=options.tls_ca, certificate=options.tls_cert, key=options.tls_key, server_name=options.tls_server_name)
    return options.tls if tls == Tls() else tls


def _token_of(file: Path) -> Callable[[], str]:
    """Return a function that reads the token, which may be renewed; it is read once here, to refuse it early."""
    from pruning_client.transport.credentials import checked  # noqa: PLC0415

    def read() -> str:
        try:
            return checked(file.read_bytes().decode("ascii", "replace"))
        except ValueError as error:
            raise UsageError(f"--token-file: {file}: {error}") from error

    read()
    return read


def _timeout(text: str) -> float:
    from pruning_client.transport.retry import check_timeout  # noqa: PLC0415

    try:
        return check_timeout(number(text, "seconds, or inf"))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _retries(text: str) -> int:
    from pruning_client.transport.retry import check_retries  # noqa: PLC0415

    try:
        return check_retries(int(text))
    except ValueError as error:
        raise ArgumentTypeError(f"retries are a whole number, 0 for none; got {text!r}") from error
