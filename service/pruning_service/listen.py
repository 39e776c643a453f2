"""The main port: TLS or plaintext, and the limits of its connections."""

import socket
from typing import Final

import grpc

from pruning_proto import limits
from pruning_service.addresses import UNIX
from pruning_service.auth.tls import ServerTls
from pruning_service.local_settings import SettingsError
from pruning_service.settings import Settings

WINDOW_BYTES: Final = 256 * 1024
"""How much a client may send ahead of what the server reads, per call: also before it is known who calls."""

CONNECTION_IDLE_SECONDS: Final = 600
"""How long a connection without calls is kept; clients open another one when they need it, without noticing."""

HANDSHAKE_SECONDS: Final = 20
"""How long a handshake may take; gRPC's own default is two minutes."""


def options(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Return gRPC's options of the main port."""
    return (
        ("grpc.max_receive_message_length", limits.MESSAGE_BYTES),
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_connection_idle_ms", CONNECTION_IDLE_SECONDS * 1000),
        # gRPC would estimate how much a client may send ahead, and on a fast line reach 60 MB of a large model, ahead
        # of the few bytes of the next client. It raises the window to the message that a call waits for, one of 2 MiB
        # usually, so that a line of 20 MB/s with a round trip of 100 ms is filled.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls
        # A client may ping every 10 s, also between calls. The server pings a connection that was silent for 30 s, and
        # closes it if there is no answer within 20 s: a client that vanished silently is noticed in 50 to 80 s.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # the longer of the two counts, and gRPC's is a minute
        *_age_limit(settings),
    )


def _age_limit(settings: Settings) -> list[tuple[str, int]]:
    """Return the option that makes clients open new connections; calls on the old ones continue without a time limit.

    Without it, a client that lost no connection never resolves a name again, and never finds a server that was added.
    """
    milliseconds = round(1000 * settings.connection_age_seconds)
    return [("grpc.max_connection_age_ms", milliseconds)] if milliseconds else []


def bind(server: grpc.aio.Server, settings: Settings, tls: ServerTls | None) -> str:
    """Bind the main port; return its address, with the actual port in place of port 0.

    Raises: SettingsError if it cannot listen.
    """
    listen = settings.listen
    if listen.startswith(UNIX):
        _check_free(listen)
    credentials = None if tls is None else tls.credentials()
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {listen}: is the address in use, or not of this machine?") from error
    return listen if listen.startswith(UNIX) else f"{listen.rpartition(':')[0]}:{port}"


def _check_free(listen: str) -> None:
    """Refuse a Unix socket on which a server listens: gRPC would take the path from it. Raises: SettingsError."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(listen.removeprefix(UNIX))
        except OSError:  # nobody listens, or gRPC reports what is wrong with the path
            return
    raise SettingsError(f"cannot listen on {listen}: another server listens there; stop it, or choose another path")
