"""The addresses of servers -> a gRPC channel to them."""

import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Final, TypeAlias

import grpc

from pruning_client.transport.allocator import keep_freed_blocks
from pruning_client.transport.credentials import IN_THE_CLEAR, Security, Tls
from pruning_proto.limits import MESSAGE_BYTES, MIB

Target: TypeAlias = str | Sequence[str]
"""Where a server listens: "HOST:PORT" or "unix:/PATH"; or where several do, among whom calls take turns."""

_Options: TypeAlias = list[tuple[str, str | int]]

_HOST_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.%a-z]+\]|[^:/\[\]\s]+):(\d{1,5})")
_RESOLVED: Final = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S+")
_SOCKET: Final = re.compile(r"(unix|unix-abstract):.+")
_PREFIX: Final = re.compile(r"(dns:(///)?|ipv4:|ipv6:)")

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # A peer that vanished is noticed within a minute, also when nothing flows because the server computes.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # the longer of the two counts, and gRPC's is a minute
    # What a server may send ahead of a caller that is slower, such as one with a slow disk. gRPC would guess it, and on
    # a fast line come to 60 MB. 4 MiB fill a line of 40 MB/s over 100 ms.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 * MIB),
    # Calls take turns among all addresses that a name stands for, or a list gives; one that is away is passed over.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # A server that was started again is found by a retry about a second later; gRPC's own waits grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A name is looked up again when a connection ends, for what has taken that server's place; gRPC's is every 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # What accepts a connection and says nothing is given up after so long (despite the option's name); gRPC's is 20 s.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # No connection is shared with other clients: in a forked process a new client would be given its parent's.
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(target: Target, security: Security = IN_THE_CLEAR) -> grpc.Channel:
    """Give a channel that connects when it is first used.

    Raises: ValueError if `target` is no address, if a token would travel in the clear, or if a file of TLS holds
    something else. OSError if it cannot be read.
    """
    address, options = _prepared(target, security)
    if security.tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, security.tls.credentials(), options)


def open_aio_channel(target: Target, security: Security = IN_THE_CLEAR) -> grpc.aio.Channel:
    """Give the same for asyncio.

    Raises: as `open_channel`.
    """
    address, options = _prepared(target, security)
    if security.tls is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, security.tls.credentials(), options)


def name_of(target: Target) -> str:
    """Give a target as messages tell it. Raises: as `check`, for what holds no addresses at all."""
    return ", ".join(_several(target))


def check(target: Target) -> None:
    """Refuse what is no address: gRPC would take `localhost` for port 443 and a URL for a strange host's name.

    Raises: ValueError, TypeError.
    """
    addresses = _several(target)
    for address in addresses:
        match = _HOST_PORT.fullmatch(address)
        if not (match and int(match[2]) < 2**16) and not _RESOLVED.fullmatch(address):
            raise ValueError(f"a server's address is HOST:PORT or unix:/PATH, several are a list; got {address!r}")
    if len(addresses) > 1:
        _joined(addresses)


def _prepared(target: Target, security: Security) -> tuple[str, _Options]:
    check(target)
    keep_freed_blocks()
    addresses = _several(target)
    is_local = all(map(_is_local, addresses))
    if security.token is not None and security.tls is None and not is_local:
        raise ValueError(
            f"a token goes over TLS only, or to this machine: give tls=True (--tls) too, to reach {name_of(target)}"
        )
    options: _Options = [*_OPTIONS, *_authority(addresses, security.tls)]
    if is_local or len(addresses) > 1:  # a proxy would be asked for a host of the name of the whole list
        options.append(("grpc.enable_http_proxy", 0))
    return _joined(addresses) if len(addresses) > 1 else addresses[0], options


def _several(target: Target) -> Sequence[str]:
    addresses = [target] if isinstance(target, str) or not isinstance(target, Sequence) else list(target)
    if not all(isinstance(address, str) for address in addresses):
        raise TypeError(f"a server's address is a string, HOST:PORT or unix:/PATH; got {target!r}")
    if not addresses:
        raise ValueError("a client needs the address of a server, or of several; the list is empty")
    return addresses


def _joined(addresses: Sequence[str]) -> str:
    """Give several addresses as gRPC has them: IP addresses, all of one version.

    gRPC resolves one name, or takes addresses as they are. Resolved here, a name would be what it was at the start.
    """
    hosts = [address.rpartition(":") for address in addresses]
    ips = [_ip(host) for host, _, _ in hosts]
    versions = {ip.version for ip in ips if ip is not None}
    if None in ips or len(versions) > 1:
        raise ValueError(
            "several addresses are IP addresses with ports, all IPv4 or all IPv6; for hosts by name give one DNS name "
            f"that stands for all of them, HOST:PORT, and calls take turns among them; got {name_of(addresses)}"
        )
    version = versions.pop()
    shown = "{}" if version == 4 else "[{}]"
    return f"ipv{version}:" + ",".join(
        f"{shown.format(ip)}:{port}" for ip, (_, _, port) in zip(ips, hosts, strict=True)
    )


def _authority(addresses: Sequence[str], tls: Tls | None) -> _Options:
    """Give the name to call the server by, and to look for in its certificate; nothing: the host of the address.

    Raises: ValueError if several addresses are called over TLS by no common name: gRPC knows one for a channel.
    """
    if tls is not None and tls.server_name is not None:
        return [("grpc.default_authority", tls.server_name)]
    if len(addresses) == 1:
        return []
    if tls is not None:
        raise ValueError(
            "several addresses over TLS need the one name that all their certificates have: Tls(server_name=...), "
            "--tls-server-name"
        )
    return [("grpc.default_authority", addresses[0])]  # else it would be the whole list, which proxies refuse


def _is_local(address: str) -> bool:
    """Whether an address is on this machine for certain."""
    if _SOCKET.fullmatch(address):
        return True
    match = _HOST_PORT.fullmatch(_PREFIX.sub("", address, count=1))
    ip = match and _ip(match[1])
    return bool(ip and ip.is_loopback)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Give the IP address of a host that is given as one; None if it is a name."""
    if host.lower() == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
