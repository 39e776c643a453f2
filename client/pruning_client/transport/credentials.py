"""TLS and tokens: how a client authenticates a server and itself. What a caller gives, as gRPC takes it.

A token is sent in the metadata of each call, as `authorization: Bearer TOKEN`. gRPC's call credentials are not used:
they are asked on a thread of gRPC's, or on the event loop if there is one, where reading a file blocks every call, and
where an error looks like a broken connection. `channel` enforces what gRPC would: no token without TLS.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import grpc

Pem: TypeAlias = bytes | str | PathLike[str]
"""PEM: itself as bytes, or the path of a file that holds it."""

Token: TypeAlias = str | Callable[[], str]
"""A token, or a function that returns one: called for each attempt of a call, so that a renewed token is used."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_CERTIFICATE: Final = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_KEY: Final = re.compile(rb"-----BEGIN ((RSA|EC) )?PRIVATE KEY-----")
_ENCRYPTED: Final = b"ENCRYPTED"
_SERVER_NAME: Final = re.compile(r"[^\s/]+")
_TOKEN: Final = re.compile(r"[!-~]+")
"""What a header's value may hold; gRPC refuses others with a message that shows them."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tls:
    """What a connection over TLS trusts and presents.

    `ca` signed the server's certificate; None: the roots that gRPC brings along, or the file that
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names. `certificate` and `key` are the client's own, for a server that asks for
    them (mTLS). `server_name` is the name in the server's certificate, where that is not the host that is called.
    Files are read once, when a client is made.

    Raises: ValueError for a certificate without a key, or a key without a certificate.
    Example:
        >>> Tls(ca=b"-----BEGIN CERTIFICATE-----...", server_name="pruning.example.org").server_name
        'pruning.example.org'
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):  # gRPC would end the process
            present, missing = ("a key", "certificate") if self.certificate is None else ("a certificate", "key")
            raise ValueError(f"{present} without its {missing}: mTLS needs both, TLS alone neither")
        if self.server_name is not None and not _SERVER_NAME.fullmatch(self.server_name):
            raise ValueError(f"a server's name is that of its certificate, got {self.server_name!r}")

    def __repr__(self) -> str:
        """Show paths and names, never what a PEM holds."""
        values = {name: getattr(self, name) for name in self.__slots__}
        shown = (f"{name}={_shown(value)}" for name, value in values.items() if value is not None)
        return f"Tls({', '.join(shown)})"

    def credentials(self) -> "grpc.ChannelCredentials":
        """Return gRPC's credentials.

        Raises: OSError if a file cannot be read. ValueError if it holds something else.
        """
        import grpc  # noqa: PLC0415 - imported when a channel is made

        return grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.ca, _CERTIFICATE),
            private_key=_read("key", self.key, _KEY),
            certificate_chain=_read("certificate", self.certificate, _CERTIFICATE),
        )


@dataclass(frozen=True, slots=True)
class Security:
    """TLS, a token, both or neither. `insecure`: models may go to other machines in plaintext; tokens never do."""

    tls: Tls | None = None
    token: Token | None = field(default=None, repr=False)
    insecure: bool = False

    @property
    def is_tls(self) -> bool:
        """Whether calls go over TLS."""
        return self.tls is not None

    @property
    def may_block(self) -> bool:
        """Whether `metadata` calls a function, which may read a file or ask a server, and would block an event loop."""
        return callable(self.token)

    def metadata(self) -> Metadata:
        """Return the metadata of one attempt of a call.

        Raises: TypeError or ValueError if what the function returns is not a token. Whatever it raises.
        """
        if self.token is None:
            return ()
        return (("authorization", f"Bearer {checked(self.token() if callable(self.token) else self.token)}"),)


NO_SECURITY: Final = Security()


def security_of(tls: Tls | bool | None, token: Token | None, *, insecure: bool = False) -> Security:
    """Return the security that a client's caller asks for.

    Raises: TypeError or ValueError if `tls` or `token` is something else, or `insecure` is set beside TLS.
    """
    if tls is not None and not isinstance(tls, Tls | bool):
        raise TypeError(f"tls is True, or Tls(ca=..., certificate=..., key=...); got {type(tls).__name__}")
    if token is not None and not callable(token):
        checked(token)
    if tls and insecure:
        raise ValueError(
            "insecure=True (--insecure) is plaintext, without TLS; leave out one of the two. To trust a certificate of "
            "your own, give its CA: Tls(ca=...), --tls-ca"
        )
    return Security(tls if isinstance(tls, Tls) else Tls() if tls else None, token, insecure)


def checked(token: str) -> str:
    """Return a token without the space around it that files have. No message contains its text.

    Raises: TypeError if it is not a string. ValueError if it is empty or cannot be the value of a header.
    """
    if not isinstance(token, str):
        raise TypeError(f"a token is a string, or what gives one; got {type(token).__name__}")
    stripped = token.strip()
    if not _TOKEN.fullmatch(stripped):
        problem = "is empty" if not stripped else "holds a space, or characters that are not ASCII"
        raise ValueError(f"the token {problem}; it is one word, without `Bearer`")
    return stripped


def _read(name: str, pem: Pem | None, expected: re.Pattern[bytes]) -> bytes | None:
    if pem is None:
        return None
    where = f"{name}, {len(pem)} bytes," if isinstance(pem, bytes) else f"{name}, {_path(name, pem)},"
    content = pem if isinstance(pem, bytes) else _path(name, pem).read_bytes()
    if expected.search(content):
        return content
    if _ENCRYPTED in content:
        raise ValueError(f"TLS: {where} is encrypted, and gRPC asks for no pass phrase: decrypt it (openssl pkey)")
    kind = "private key" if expected is _KEY else "certificate"
    raise ValueError(f"TLS: {where} holds no {kind} in PEM (-----BEGIN ...-----)")


def _path(name: str, path: str | PathLike[str]) -> Path:
    if "-----BEGIN" in str(path):  # an error of the file system would show all of it
        raise ValueError(f"TLS: {name} is the path of a file, or PEM as bytes; a string that holds PEM is neither")
    return Path(path)


def _shown(value: Pem) -> str:
    is_content = isinstance(value, bytes) or "-----BEGIN" in str(value)
    return "<PEM>" if is_content else repr(str(value))
