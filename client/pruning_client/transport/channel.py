"""The addresses of servers -> a gRPC channel to them."""

import json
from collections.abc import Sequence
from typing import Final, TypeAlias

import grpc

from pruning_client.transport.addresses import Target, addresses_of, check, is_local, joined, name_of
from pruning_client.transport.credentials import NO_SECURITY, Security, Tls
from pruning_proto.limits import MESSAGE_BYTES, MIB

_Options: TypeAlias = list[tuple[str, str | int]]

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
    # Calls take turns among all addresses of a name or a list; one that does not answer is skipped.
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


def open_channel(target: Target, security: Security = NO_SECURITY) -> grpc.Channel:
    """Return a channel that connects when it is first used.

    Raises: ValueError if `target` is not an address, if a token or, without `insecure`, a model would travel in
    plaintext, or if a file of TLS holds something else. OSError if it cannot be read.
    """
    address, options = _prepared(target, security)
    options.append(("SingleThreadedUnaryStream", 1))  # of grpc.experimental: no thread of its own for a small model
    if security.tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, security.tls.credentials(), options)


def open_aio_channel(target: Target, security: Security = NO_SECURITY) -> grpc.aio.Channel:
    """Return the same for asyncio.

    Raises: as `open_channel`.
    """
    address, options = _prepared(target, security)
    if security.tls is None:
        return grpc.aio.insecure_channel(address, options)
    return grpc.aio.secure_channel(address, security.tls.credentials(), options)


def open_address(address: str, authority: str, security: Security) -> grpc.Channel:
    """Return a channel to one address of a server, in gRPC's notation, that is called by the name `authority`."""
    tls = security.tls
    name = authority if tls is None or tls.server_name is None else tls.server_name
    options: _Options = [*_OPTIONS, ("grpc.default_authority", name), ("grpc.enable_http_proxy", 0)]
    return (
        grpc.insecure_channel(address, options)
        if tls is None
        else grpc.secure_channel(address, tls.credentials(), options)
    )


def _prepared(target: Target, security: Security) -> tuple[str, _Options]:
    check(target)
    addresses = addresses_of(target)
    are_local = all(map(is_local, addresses))
    if security.tls is None and not are_local:
        _check_plaintext(name_of(target), security)
    options: _Options = [*_OPTIONS, *_authority(addresses, security.tls)]
    if are_local or len(addresses) > 1:  # a proxy would be asked for a host of the name of the whole list
        options.append(("grpc.enable_http_proxy", 0))
    return joined(addresses) if len(addresses) > 1 else addresses[0], options


def _check_plaintext(name: str, security: Security) -> None:
    """Refuse to send to another machine in plaintext, as a server refuses to listen so. Raises: ValueError."""
    if security.token is not None:
        raise ValueError(f"a token goes over TLS only, or to this machine: give tls=True (--tls) too, to reach {name}")
    if not security.insecure:
        raise ValueError(
            f"a model would travel to {name} in plaintext, where others may read and change it: give tls=True (--tls), "
            "or Tls(ca=...) (--tls-ca) for a CA of your own; or, where a proxy or a mesh encrypts, insecure=True "
            "(--insecure)"
        )


def _authority(addresses: Sequence[str], tls: Tls | None) -> _Options:
    """Return the name to call the server by, and to look for in its certificate; nothing: the host of the address.

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
