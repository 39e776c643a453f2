"""Bearer tokens: a file of those who are let in, each under a name.

A line is `name:sha256:HEX`, the digest of the caller's token, or `name:TOKEN`, the token itself. Lines that begin with
`#` and empty ones count for nothing. A caller may have several lines: the old token and the new, while it changes.

A token that was changed counts at the next call. A file that makes no sense is told in the log, and the tokens before
it stay in use. No message shows what a line holds.
"""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pruning_service.auth.open_files import warn_if_open
from pruning_service.settings import PREFIX, SettingsError

LEAST_CHARACTERS: Final = 16
"""Of a token. Digests without salt are as good as secret only for tokens that nobody can guess."""

_NAME: Final = re.compile(r"[\w.@/+-]{1,100}", re.ASCII)
_TOKEN: Final = re.compile(rf"[!-~]{{{LEAST_CHARACTERS},}}")
_HASHED: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_FRESH_SECONDS: Final = 1.0
"""How long a file's time and size are believed: two changes within a tick of the file system's clock look like one."""

_log = logging.getLogger(__name__)


class _Token(NamedTuple):
    digest: bytes
    name: str
    is_clear: bool
    """Whether the file holds the token itself."""


class Tokens:
    """The tokens of a file.

    Raises: SettingsError if it cannot be read, makes no sense, or holds none.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = _look_of(file)
        self._read_at = time.monotonic()
        self._tokens = _read(file)
        self._complaint = ""
        if not self._tokens:
            raise SettingsError(f"{file} ({PREFIX}TOKEN_FILE) holds no token: nobody could call")
        if any(one.is_clear for one in self._tokens):
            warn_if_open(file)

    def name_of(self, token: str) -> str | None:
        """Give the name of a token's caller; None if it is nobody's.

        Every line is compared, in constant time: how long it takes tells nothing about any of them.
        """
        self._renew()
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for one in self._tokens:
            if hmac.compare_digest(one.digest, digest):
                found = one.name
        return found

    def _renew(self) -> None:
        now, look = time.monotonic(), _look_of(self._file)
        if look == self._seen and now - self._read_at < _FRESH_SECONDS:
            return
        self._seen, self._read_at = look, now
        try:
            tokens = _read(self._file)
        except SettingsError as error:
            self._complain(str(error))
            return
        self._complaint = ""
        if tokens != self._tokens:
            self._tokens = tokens
            _log.info("tokens renewed lines=%d", len(tokens))

    def _complain(self, wrong: str) -> None:
        if wrong != self._complaint:  # once, not for each call
            _log.error("tokens not renewed, those before stay in use: %s", wrong)
        self._complaint = wrong


def _look_of(file: Path) -> tuple[int, ...]:
    """Give what tells a changed file from an unchanged one, without reading it."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(file: Path) -> list[_Token]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"  # the other would show some of it
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
            f"a token is {LEAST_CHARACTERS} characters of ASCII or more, without spaces (openssl rand -hex 32)"
        )
    return _Token(hashlib.sha256(secret.encode()).digest(), name, is_clear=True)


def _digest(text: str) -> bytes:
    if not _DIGEST.fullmatch(text):
        raise ValueError("after sha256: stand the 64 hexadecimal digits of the token's SHA-256")
    return bytes.fromhex(text)


def _check_names(tokens: Iterable[_Token]) -> None:
    names: dict[bytes, str] = {}
    for token in tokens:
        if names.setdefault(token.digest, token.name) != token.name:
            raise ValueError(f"{names[token.digest]} and {token.name} have the same token: who calls could not be told")
