"""Bearer tokens: a file of the callers that are admitted, each with a name.

A line is `name:sha256:HEX`, the digest of the caller's token, or `name:TOKEN`, the token itself. Empty lines and lines
that begin with `#` are ignored. A caller may have several lines: the old token and the new one, during a rotation.

A changed token takes effect with the next call. An invalid file is logged, and the tokens before it stay in use. A file
that is gone for a minute admits nobody: whoever deletes it wants that, and whoever renews it is done by then. No
message shows a token or a digest.
"""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pruning_service.auth.reloaded_file import ReloadedFile, warn_if_world_readable
from pruning_service.local_settings import PREFIX, SettingsError

MIN_CHARACTERS: Final = 16
"""The shortest token. A digest without salt is safe only for tokens that cannot be guessed."""

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[\w.@/+-]{1,100}", re.ASCII)
_TOKEN: Final = re.compile(rf"[!-~]{{{MIN_CHARACTERS},}}")
_HASHED: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
MISSING_SECONDS: Final = 60.0
"""How long the tokens of a file that is gone stay in use, from when it was last seen."""

_FRESH_SECONDS: Final = 1.0
"""How long a file's time and size are trusted: two changes within a tick of the file system's clock look like one."""


class _Token(NamedTuple):
    digest: bytes
    name: str
    is_clear: bool
    """Whether the file holds the token itself."""


class Tokens:
    """The tokens of a file.

    Raises: SettingsError if it cannot be read, is invalid, or holds none.
    """

    def __init__(self, file: Path, missing_seconds: float = MISSING_SECONDS) -> None:
        self._file = file
        self._missing_seconds = missing_seconds
        self._version = _version_of(file)
        self._read_at = self._seen_at = time.monotonic()
        self._tokens = ReloadedFile(
            "tokens",
            partial(_read, file),
            describe=lambda tokens: f"lines={len(tokens)}",
            kept=lambda _: "those before stay in use",
        )
        if not self._tokens.contents:
            raise SettingsError(f"{file} ({PREFIX}TOKEN_FILE) holds no token: nobody could call")
        if any(token.is_clear for token in self._tokens.contents):
            warn_if_world_readable(file)

    def is_stale(self) -> bool:
        """Whether the file cannot be used: it is gone, or holds something invalid."""
        self._reload_if_changed()
        return self._tokens.is_stale

    def name_of(self, token: str) -> str | None:
        """Return the name of a token's caller; None for an unknown token.

        Every line is compared, in constant time: the duration reveals nothing about any of them.
        """
        self._reload_if_changed()
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known in self._tokens.contents:
            if hmac.compare_digest(known.digest, digest):
                found = known.name
        return found

    def _reload_if_changed(self) -> None:
        now, version = time.monotonic(), _version_of(self._file)
        if version is not None:
            self._seen_at = now
        elif now - self._seen_at >= self._missing_seconds and self._tokens.contents:
            _log.error("tokens file=%s is gone: nobody is admitted until it is there again", self._file)
            self._tokens.contents = []
        if version == self._version and now - self._read_at < _FRESH_SECONDS:
            return
        self._version, self._read_at = version, now
        self._tokens.reload()


def _version_of(file: Path) -> tuple[int, ...] | None:
    """Return what differs between a changed file and an unchanged one, without reading it; None if it is gone."""
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(file: Path) -> list[_Token]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"  # a UnicodeDecodeError shows some of it
        raise SettingsError(f"cannot read {file} ({PREFIX}TOKEN_FILE): {why}") from None
    try:
        tokens = list(_parsed(lines))
        _check_names(tokens)
    except ValueError as error:
        raise SettingsError(f"{file} ({PREFIX}TOKEN_FILE), {error}") from None
    return tokens


def _parsed(lines: Iterable[str]) -> Iterator[_Token]:
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            try:
                yield _token(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _token(line: str) -> _Token:
    name, colon, secret = line.partition(":")
    if not colon:
        raise ValueError("it is name:TOKEN or name:sha256:HEX, and this line has no colon")
    if not _NAME.fullmatch(name):
        raise ValueError("a name is 1 to 100 letters, digits and any of . _ @ / + -")
    if secret.startswith(_HASHED):
        return _Token(_digest(secret.removeprefix(_HASHED)), name, is_clear=False)
    if not _TOKEN.fullmatch(secret):
        raise ValueError(
            f"a token is {MIN_CHARACTERS} characters of ASCII or more, without spaces (openssl rand -hex 32)"
        )
    return _Token(hashlib.sha256(secret.encode()).digest(), name, is_clear=True)


def _digest(text: str) -> bytes:
    if not _DIGEST.fullmatch(text):
        raise ValueError("after sha256: come the 64 hexadecimal digits of the token's SHA-256")
    return bytes.fromhex(text)


def _check_names(tokens: Iterable[_Token]) -> None:
    names: dict[bytes, str] = {}
    for token in tokens:
        if names.setdefault(token.digest, token.name) != token.name:
            raise ValueError(
                f"{names[token.digest]} and {token.name} have the same token: their calls could not be told apart"
            )
