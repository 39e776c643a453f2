"""The caller of a call: by the token in its metadata, and by the certificate of its connection."""

from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pruning_proto.reasons import Reason
from pruning_service.auth.tokens import Tokens
from pruning_service.status import Refusal

NOBODY: Final = "-"
"""The caller where a server asks for neither tokens nor certificates."""

caller: Final[ContextVar[str]] = ContextVar("caller", default=NOBODY)
"""The caller of the current call, for its line in the log."""

caller_token: Final[ContextVar[str]] = ContextVar("caller_token", default="")
"""The name of the current call's token alone; empty without one. It decides which stores may be opened."""

_HEADER: Final = "authorization"
_SCHEME: Final = "bearer"
_REMEDY: Final = "send one that this server knows, as metadata `authorization: Bearer TOKEN` (token=..., --token-file)"


class Callers:
    """The callers that a server admits: everybody, or those of a token file."""

    def __init__(self, token_file: Path | None) -> None:
        self._tokens = None if token_file is None else Tokens(token_file)

    def is_stale(self) -> bool:
        """Whether there is a token file that cannot be used."""
        return self._tokens is not None and self._tokens.is_stale()

    def by_token(self, metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
        """Return the caller's name; None if the server requires no tokens.

        Raises: Refusal UNAUTHENTICATED.
        """
        if self._tokens is None:
            return None
        name = self._tokens.name_of(_token(metadata))
        if name is None:
            raise _unauthenticated("the call's token is not known here")
        return name


def name_of(token_name: str | None, context: Any) -> str:
    """Return a caller's name in the log: of its token, of its certificate, of both, or NOBODY."""
    names = [token_name, _by_certificate(context)]
    return ",".join(name for name in names if name) or NOBODY


def _by_certificate(context: Any) -> str:
    """Return a name of the client's certificate: the first of its alternative names, else its common name.

    gRPC knows it only where certificates are required. Characters that a log line could not hold are
    escaped as in a URL.
    """
    names = context.peer_identities() or ()
    return next((quote(name, safe="@:/+~") for name in names), "")


def _token(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    given = [value for key, value in metadata if key == _HEADER]
    if not given:
        raise _unauthenticated("the call has no token")
    if len(given) > 1:
        raise _unauthenticated(f"the call has {len(given)} times the metadata `{_HEADER}`")
    scheme, _, token = str(given[0]).partition(" ")
    if scheme.lower() != _SCHEME or not token:
        raise _unauthenticated(f"the call's metadata `{_HEADER}` is not `Bearer TOKEN`")
    return token.strip()


def _unauthenticated(problem: str) -> Refusal:
    return Refusal(reason=Reason.UNAUTHENTICATED, message=f"{problem}: {_REMEDY}")
