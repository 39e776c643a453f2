"""What to do about a connection that was not made: what gRPC tells of it, in words that help.

Only the words of a message hang on gRPC's here, never the class of an error nor whether to try again.
"""

from typing import Final

_START: Final = "check the address, or start one there with `prune serve --listen HOST:PORT`"

_BY_SIGN: Final = (
    ("certificate has expired", "the server's certificate has expired: it needs a new one"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "no CA that this client trusts signed the server's certificate: give the one that did, Tls(ca=...), --tls-ca",
    ),
    (
        "Hostname Verification",
        "the server's certificate is for another name: call the server by that name, or give it, "
        "Tls(server_name=...), --tls-server-name",
    ),
    ("WRONG_VERSION_NUMBER", "what listens there speaks no TLS: leave TLS out (tls, --tls), or check the port"),
    (
        "create security handshaker",
        "the files given for TLS are not sound, or the certificate and the key do not belong together",
    ),
    ("http1.x server", "what listens there speaks HTTP/1 and not gRPC: check the port"),
    ("Failed parsing HTTP/2", "what listens there does not speak gRPC: check the port"),
    ("lookup", "there is no host of this name: check the address"),
)
"""What gRPC's message holds -> what that means. The first that is found counts."""

_ENDED: Final = ("Socket closed", "reset by peer", "Endpoint closing", "Broken pipe", "SETTINGS frame")
"""The other side took the connection and ended it, or said nothing, before it was one of gRPC's."""

_ENDED_OVER_TLS: Final = (
    "it ended the connection, or said nothing: if it asks for the client's certificate give one that it knows, "
    "Tls(certificate=..., key=...), --tls-cert and --tls-key; or check the port"
)
_ENDED_IN_THE_CLEAR: Final = (
    "it ended the connection, or said nothing: if it speaks TLS give tls=True, --tls; or check the port"
)


def advice(details: str, *, is_tls: bool) -> str:
    """Give what to do about a connection of which gRPC tells `details`."""
    for sign, meaning in _BY_SIGN:
        if sign in details:
            return meaning
    if any(sign in details for sign in _ENDED):
        return _ENDED_OVER_TLS if is_tls else _ENDED_IN_THE_CLEAR
    return _START
