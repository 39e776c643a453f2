"""Who calls: by the token of a call's metadata, and by the certificate that its connection showed."""

from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pruning_proto.reasons import Reason
from pruning_service.auth.tokens import Tokens
from pruning_service.status import Refusal

NOBODY: Final = "-"
"""The caller of a server that asks nobody who they are."""

caller: Final[ContextVar[str]] = ContextVar("caller", default=NOBODY)
"""The caller of the call under way, for its line in the log."""

_HEADER: Final = "authorization"
_SCHEME: Final = "bearer"
_HOW: Final = "send one that this server knows, as metadata `authorization: Bearer TOKEN` (token=..., --token-file)"


class Callers:
    """Those whom a server lets in: everybody, or those of a file of tokens."""

    def __init__(self, token_file: Path | None) -> None:
        self._tokens = None if token_file is None else Tokens(token_file)

    def by_token(self, metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
        """Give the caller's name; None if no tokens are asked for.

        Raises: Refusal UNAUTHENTICATED.
        """
        if self._tokens is None:
            return None
        name = self._tokens.name_of(_token(metadata))
        if name is None:
            raise _unauthenticated("the call's token is not known here")
        return name


def name_of(token_name: str | None, context: Any) -> str:
    """Give how the log calls a caller: by its token, by its certificate, by both, or NOBODY."""
    names = [token_name, _by_certificate(context)]
    return ",".join(name for name in names if name) or NOBODY


def _by_certificate(context: Any) -> str:
    """Give a name of the client's certificate, the first of its alternative names, else its common name.

    gRPC knows it only where certificates are asked for. What a log line could not hold is escaped as in a URL.
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


def _unauthenticated(what: str) -> Refusal:
    return Refusal(reason=Reason.UNAUTHENTICATED, message=f"{what}: {_HOW}")
