"""Addresses to listen on: `host:port`, `unix:/path`, or `none`."""

import ipaddress
from typing import Final

from pruning_service.local_settings import SettingsError

UNIX: Final = "unix:"
"""What the address of a Unix socket begins with."""

NOWHERE: Final = "none"
"""As an address: do not listen."""


def host_and_port(address: str, variable: str) -> tuple[str, int]:
    """Split `host:port`. Raises: SettingsError that names the variable."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise SettingsError(f"{variable} must be host:port, with a port of 0 to 65535, got {address!r}")
    return host, int(port)


def is_local(address: str) -> bool:
    """Whether only this machine can reach an address: a Unix socket, or the loopback."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if address.startswith(UNIX) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
