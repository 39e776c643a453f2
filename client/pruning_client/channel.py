"""An address -> a gRPC channel to it."""

import re
from typing import Final

import grpc

from pruning_proto.limits import MESSAGE_BYTES

_HOST_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.%a-z]+\]|[^:/\[\]\s]+):(\d{1,5})")
_RESOLVED: Final = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S+")
_LOOPBACK: Final = re.compile(r"(localhost|127\.[\d.]+|\[::1\]):\d+", re.IGNORECASE)

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # A peer that vanished is noticed within a minute, also when nothing flows because the server computes.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


def open_channel(target: str) -> grpc.Channel:
    """Give a channel that connects when it is first used.

    Raises: ValueError if `target` is no address.
    """
    check(target)
    options = [*_OPTIONS, ("grpc.enable_http_proxy", 0)] if _is_local(target) else list(_OPTIONS)
    return grpc.insecure_channel(target, options)


def check(target: str) -> None:
    """Refuse what is no address: gRPC would take `localhost` for port 443 and a URL for a strange host's name.

    Raises: ValueError.
    """
    match = _HOST_PORT.fullmatch(target)
    if (match and int(match[2]) < 2**16) or _RESOLVED.fullmatch(target):
        return
    raise ValueError(f"a server's address is HOST:PORT or unix:/PATH, got {target!r}")


def _is_local(target: str) -> bool:
    return target.startswith("unix") or _LOOPBACK.fullmatch(target) is not None
