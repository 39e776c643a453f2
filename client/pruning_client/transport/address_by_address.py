"""What each address of a server says, one by one.

Of several addresses, such as the two of `localhost`, gRPC reports the last error only. A server that listens on one of
them and speaks another TLS then looks like one that is not there: "connection refused" of the other address.
"""

import socket
from collections.abc import Callable, Iterator
from functools import partial

import grpc

from pruning_client.transport.addresses import Target, addresses_of
from pruning_client.transport.channel import open_address
from pruning_client.transport.credentials import Security
from pruning_client.transport.main_thread import run_outside_main_thread
from pruning_proto.names import GET_CAPABILITIES_PATH

_SECONDS = 3.0
"""For one address; one that refuses or speaks answers at once."""

_MOST_ADDRESSES = 8

_NOBODY = ("Connection refused", "unreachable", "No route to host", "not known", "Cannot assign requested address")
"""No server is there: parts of gRPC's messages."""


def may_tell_more(error: grpc.RpcError) -> bool:
    """Whether another address of the same server may have a more telling error: at this one nobody listens."""
    is_unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
    return is_unavailable and any(sign in (error.details() or "") for sign in _NOBODY)


def telling_details(error: grpc.RpcError, target: Target, security: Security) -> str | None:
    """Return gRPC's message about an address where something listens; None if nothing does, or `error` is about one.

    A connection is made to each address; nothing is sent. Cost: milliseconds, where an address refuses or answers.
    """
    if not may_tell_more(error):
        return None
    addresses = list(_each(target))[:_MOST_ADDRESSES]
    if len(addresses) < 2:
        return None
    return run_outside_main_thread(partial(_first_answer, addresses, security))


def _first_answer(addresses: list[tuple[str, str]], security: Security) -> str | None:
    for address, authority in addresses:
        with open_address(address, authority, security) as channel:
            try:
                ask: Callable[..., object] = channel.unary_unary(GET_CAPABILITIES_PATH)
                ask(b"", timeout=_SECONDS)
            except grpc.RpcError as error:
                details: str = error.details() or ""
                if error.code() is grpc.StatusCode.UNAVAILABLE and not any(sign in details for sign in _NOBODY):
                    return details
    return None


def _each(target: Target) -> Iterator[tuple[str, str]]:
    """Return the addresses in gRPC's notation, each with the name that its certificate should have."""
    for address in addresses_of(target):
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdecimal() or ":" in host.strip("[]").partition("%")[0].replace("::", ""):
            continue  # a socket, or another notation of gRPC's
        for found in _resolved(host.strip("[]"), int(port)):
            yield found, host


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    notation = {socket.AF_INET: "ipv4:{}:{}", socket.AF_INET6: "ipv6:[{}]:{}"}
    places = [notation[family].format(*place[:2]) for family, _, _, _, place in found if family in notation]
    return list(dict.fromkeys(places))
