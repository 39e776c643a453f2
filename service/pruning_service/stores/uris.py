"""Where a file, a folder or a prefix is: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, `file:///path`.

A URI names a place and nothing else. It has no host, no port, no credentials and no query: these come from the settings
and the environment of the process that opens it, so that whoever names a place cannot make it contact another host.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

FILE: Final = "file"

SCHEMES: Final = ("s3", "gs", "az", FILE)
"""S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage, and files of this machine."""

_URI: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)(/.*)?", re.DOTALL | re.IGNORECASE)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\?#]")
_FORMS: Final = "s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY or file:///PATH"
_SHOWN_CHARACTERS: Final = 200


class UriError(ValueError):
    """A text is not a URI of a store; the message says what is allowed."""


@dataclass(frozen=True, slots=True, order=True)
class StoreUri:
    """A place in a store; `path` is without the slash that it begins with, and empty for a whole bucket."""

    scheme: str
    bucket: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that a text names; a slash at its end has no meaning. Raises: UriError."""
        match = _URI.fullmatch(text)
        if match is None:
            raise _error(text, f"is not a URI of a store: {_FORMS}")
        scheme, bucket, path = match[1].lower(), match[2], match[3] or ""
        if scheme not in SCHEMES:
            raise _error(text, f"has the scheme {scheme!r}; known are {_FORMS}")
        _check_bucket(text, scheme, bucket)
        return cls(scheme, bucket, _checked_path(text, path.removeprefix("/").removesuffix("/")))

    @property
    def name(self) -> str:
        """The last part of the path; empty for a whole bucket."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The place that this one is in; a whole bucket is its own parent."""
        return replace(self, path=self.path.rpartition("/")[0])

    @property
    def is_file(self) -> bool:
        """Whether this is a path on this machine."""
        return self.scheme == FILE

    def child(self, name: str) -> Self:
        """Return a place below this one; `name` may have several parts. Raises: UriError."""
        path = _checked_path(f"{self}/{name}", name)
        return replace(self, path=f"{self.path}/{path}" if self.path and path else self.path or path)

    def contains(self, other: "StoreUri") -> bool:
        """Whether another place is this one, or below it."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        return not self.path or other.path == self.path or other.path.startswith(f"{self.path}/")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.path}".removesuffix("/" if self.bucket else "")


def is_uri(text: str) -> bool:
    """Whether a text is meant as a URI, valid or not, and not as a path."""
    return _URI.fullmatch(text) is not None


def _check_bucket(text: str, scheme: str, bucket: str) -> None:
    if scheme == FILE:
        if bucket:
            raise _error(text, f"names the host {bucket!r}; a path on this machine has three slashes: file:///PATH")
        return
    if not bucket:
        raise _error(text, f"names no bucket: {_FORMS}")
    if not _BUCKET.fullmatch(bucket):
        raise _error(
            text,
            "has a bucket with other characters than letters, digits, dots, hyphens and underscores; hosts, ports and "
            "credentials come from the settings, never from a URI",
        )


def _checked_path(text: str, path: str) -> str:
    found = _FORBIDDEN.search(path)
    if found is not None:
        raise _error(
            text, f"has {found[0]!r} in its path; query strings, backslashes and control characters are not taken"
        )
    parts = path.split("/") if path else []
    if "" in parts:
        raise _error(text, "has an empty part in its path: two slashes in a row")
    if "." in parts or ".." in parts:
        raise _error(text, "has `.` or `..` in its path; name the place itself")
    return path


def _error(text: str, description: str) -> UriError:
    """Return an error that shows the text without what may be a secret: user names, passwords and query strings."""
    shown = re.sub(r"//[^/]*@", "//...@", text.partition("?")[0])[:_SHOWN_CHARACTERS]
    return UriError(f"{shown!r} {description}")
