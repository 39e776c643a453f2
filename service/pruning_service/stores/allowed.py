"""What a server may open, and for whom: nothing that its setting does not name.

The setting lists places; what is below one may be opened. A place may be followed by `=` and the names of callers, as
the token file has them: it is theirs alone. Of places that contain one another the innermost decides.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pruning_service.local_settings import SettingsError
from pruning_service.stores.errors import NotAllowedError
from pruning_service.stores.uris import StoreUri, UriError

STATE: Final = "_pruning"
"""The folder of jobs' state in each place; nobody may name what is in it."""

_SEPARATOR: Final = re.compile(r"\s+|,(?=\s*[a-zA-Z0-9+.-]+://)")
_NAME: Final = re.compile(r"[^\s,=]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What is below `uri` may be opened: by all callers, or by those of these names."""

    uri: StoreUri
    callers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class AllowedStores:
    """The places that a server may open."""

    places: tuple[Place, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the places that a setting lists, between spaces or commas. Raises: SettingsError."""
        return cls(tuple(_place(entry) for entry in _SEPARATOR.split(text.strip()) if entry))

    def check_folders(self) -> None:
        """Refuse a place of this machine that is not a folder. What is in object stores is not contacted.

        Raises: SettingsError.
        """
        for place in self.places:
            if place.uri.is_file and not (Path("/") / place.uri.path).is_dir():
                raise SettingsError(
                    f"PRUNING_STORES: {place.uri} is not a folder of this machine; make or mount it before the server "
                    "starts, or leave it out"
                )

    def place_of(self, uri: StoreUri) -> Place:
        """Return the place that a URI is in. Raises: NotAllowedError."""
        found = [place for place in self.places if place.uri.contains(uri)]
        if not found:
            raise NotAllowedError(uri, "is in no place that this server may open (its setting PRUNING_STORES)")
        return max(found, key=lambda place: len(place.uri.path))

    def check(self, uri: StoreUri, caller: str = "") -> Place:
        """Return the place that a caller's URI is in, and below which it is.

        `caller`: the name of the caller's token; empty if it has none.
        Raises: NotAllowedError; the text does not depend on what is there.
        """
        place = self.place_of(uri)
        if place.callers is not None and caller not in place.callers:
            raise NotAllowedError(uri, "is in no place that this caller may name (the server's setting PRUNING_STORES)")
        if STATE in uri.path.split("/"):
            raise NotAllowedError(uri, f"is in a folder {STATE}, which has the state of jobs; name another place")
        if place.uri == uri:
            raise NotAllowedError(uri, "is a place of PRUNING_STORES itself; name a file or a folder in it")
        return place


def _place(entry: str) -> Place:
    text, separator, names = entry.partition("=")
    try:
        uri = StoreUri.parse(text)
    except UriError as error:
        raise SettingsError(f"PRUNING_STORES lists places that may be opened: {error}") from error
    if not separator:
        return Place(uri)
    callers = frozenset(_names(names))
    if not callers:
        raise SettingsError(f"PRUNING_STORES: {text}= names nobody; name callers, as s3://bucket/team=alice,bob")
    return Place(uri, callers)


def _names(text: str) -> Iterator[str]:
    for name in filter(None, text.split(",")):
        if not _NAME.fullmatch(name):
            raise SettingsError(f"PRUNING_STORES: {name!r} is not the name of a caller")
        yield name
