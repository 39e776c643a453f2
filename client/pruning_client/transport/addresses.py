"""The addresses of servers: what a caller may give, checked, and written as gRPC takes it. Imports no gRPC."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, TypeAlias

Target: TypeAlias = str | Sequence[str]
"""Where a server listens: "HOST:PORT" or "unix:/PATH"; or where several do, among which calls take turns."""

_HOST_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.%a-z]+\]|[^:/\[\]\s]+):(\d{1,5})")
_RESOLVED: Final = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S+")
_SOCKET: Final = re.compile(r"(unix|unix-abstract):.+")
_PREFIX: Final = re.compile(r"(dns:(///)?|ipv4:|ipv6:)")


def name_of(target: Target) -> str:
    """Return a target as messages show it. Raises: as `check`, for what holds no addresses at all."""
    return ", ".join(addresses_of(target))


def check(target: Target) -> None:
    """Refuse what is not an address: gRPC would take `localhost` for port 443 and a URL for a strange host's name.

    Raises: ValueError, TypeError.
    """
    addresses = addresses_of(target)
    for address in addresses:
        match = _HOST_PORT.fullmatch(address)
        if not (match and int(match[2]) < 2**16) and not _RESOLVED.fullmatch(address):
            raise ValueError(f"a server's address is HOST:PORT or unix:/PATH, several are a list; got {address!r}")
    if len(addresses) > 1:
        joined(addresses)


def addresses_of(target: Target) -> Sequence[str]:
    """Return the addresses of a target, one or more. Raises: TypeError, ValueError if it holds none."""
    addresses = [target] if isinstance(target, str) or not isinstance(target, Sequence) else list(target)
    if not all(isinstance(address, str) for address in addresses):
        raise TypeError(f"a server's address is a string, HOST:PORT or unix:/PATH; got {target!r}")
    if not addresses:
        raise ValueError("a client needs the address of a server, or of several; the list is empty")
    return addresses


def joined(addresses: Sequence[str]) -> str:
    """Return several addresses in gRPC's notation: IP addresses, all of one version.

    gRPC resolves one name, or takes addresses as they are. A name resolved here would never be looked up again.
    """
    hosts = [address.rpartition(":") for address in addresses]
    ips = [_ip(host) for host, _, _ in hosts]
    versions = {ip.version for ip in ips if ip is not None}
    if None in ips or len(versions) > 1:
        raise ValueError(
            "several addresses are IP addresses with ports, all IPv4 or all IPv6; for hosts by name give one DNS name "
            f"that resolves to all of them, HOST:PORT, and calls take turns among them; got {name_of(addresses)}"
        )
    version = versions.pop()
    notation = "{}" if version == 4 else "[{}]"
    return f"ipv{version}:" + ",".join(
        f"{notation.format(ip)}:{port}" for ip, (_, _, port) in zip(ips, hosts, strict=True)
    )


def is_local(address: str) -> bool:
    """Whether an address is on this machine for certain."""
    if _SOCKET.fullmatch(address):
        return True
    match = _HOST_PORT.fullmatch(_PREFIX.sub("", address, count=1))
    ip = match and _ip(match[1])
    return bool(ip and ip.is_loopback)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address of a host that is given as one; None if it is a name."""
    if host.lower() == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
