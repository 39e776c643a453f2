"""Objects in S3 and what speaks its protocol, in Google Cloud Storage and in Azure, through obstore.

What obstore leaves to its callers is done here: an empty range is never asked for, a body that ends early is noticed
and fetched again, each answer is compared with the version that was found, and a create whose answer was lost is not
taken for a conflict.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import obstore

from pruning_service.stores.errors import (
    ExistsError,
    ObjectChangedError,
    ObjectMissingError,
    ReplacedError,
    StoreError,
    StoreUnavailableError,
)
from pruning_service.stores.reading import read_ahead, requests_for
from pruning_service.stores.remote_errors import translated
from pruning_service.stores.remote_writing import RemoteWriter
from pruning_service.stores.retrying import pause_after, retried
from pruning_service.stores.store import ByteRange, Data, StoredObject
from pruning_service.stores.traffic import Traffic
from pruning_service.stores.uris import StoreUri

_SMALL_BYTES: Final = 64 * 1024 * 1024
"""The most that `get` returns: more is not a small object."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A bucket, and what all who use it share. `executor` fetches, up to `read_ahead_bytes` for each reader."""

    bucket: Any
    executor: Executor
    read_ahead_bytes: int
    attempts: int
    traffic: Traffic


class RemoteStore:
    """A `Store` of the objects below a place in a bucket."""

    def __init__(self, uri: StoreUri, remote: Remote) -> None:
        self.uri = uri
        self._remote = remote
        self._bucket = remote.bucket

    def find(self, key: str) -> StoredObject:
        """Return what there is about an object."""
        meta = self._asked(key, lambda path: obstore.head(self._bucket, path))
        return StoredObject(key, meta["size"], _version(meta))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield all objects below a key, or all."""
        place = self.uri.child(prefix) if prefix else self.uri
        skipped = len(self.uri.path) + 1 if self.uri.path else 0
        for meta in self._listed(place):
            yield StoredObject(meta["path"][skipped:], meta["size"], _version(meta))

    def _listed(self, place: StoreUri) -> Iterator[Any]:
        """Yield what the library has of each object; after a failure the list goes on where it was."""
        last, failures = None, 0
        while True:
            self._count("requests")
            pages = iter(obstore.list(self._bucket, place.path or None, offset=last))
            try:
                while True:
                    with translated(place):
                        page = next(pages, None)
                    if page is None:
                        return
                    yield from page
                    last, failures = page[-1]["path"] if page else last, 0
            except StoreUnavailableError:
                failures += 1
                if failures >= self._remote.attempts:
                    raise
                self._count("retries")
                pause_after(failures)

    def read(self, found: StoredObject, ranges: Sequence[ByteRange]) -> Iterator[memoryview]:
        """Yield the bytes of ranges of an object."""
        fetch = partial(self._fetch, found)
        return read_ahead(requests_for(ranges), fetch, self._remote.executor, self._remote.read_ahead_bytes)

    def read_into(self, found: StoredObject, begin: int, target: memoryview) -> None:
        """Fill `target` with the bytes of an object from `begin` on."""
        at = 0
        for piece in self.read(found, [(begin, begin + len(target))]):
            target[at : at + len(piece)] = piece
            at += len(piece)

    def _fetch(self, found: StoredObject, begin: int, end: int) -> memoryview:
        """Return bytes of an object; the version is checked by the store, and in its answer."""
        options: Any = {"range": (begin, end)}
        if not found.version.startswith(_WEAK):
            options["if_match"] = found.version

        def attempt(path: str) -> memoryview:
            result = obstore.get(self._bucket, path, options=options)
            if _bare(_version(result.meta)) != _bare(found.version):
                raise ReplacedError(self.uri.child(found.key), "")
            data = memoryview(result.bytes())
            if len(data) != end - begin:
                raise StoreUnavailableError(
                    self.uri.child(found.key), f"the store sent {len(data):,} of {end - begin:,} bytes"
                )
            return data

        try:
            data: memoryview = self._asked(found.key, attempt)
        except (ReplacedError, ObjectMissingError) as error:
            raise ObjectChangedError(
                self.uri.child(found.key), "was changed or deleted while it was read; try again when nothing writes it"
            ) from error
        self._count("read_bytes", len(data))
        return data

    def get(self, key: str) -> tuple[bytes, str]:
        """Return a small object whole, with its version."""

        def attempt(path: str) -> tuple[bytes, str]:
            result = obstore.get(self._bucket, path)
            if result.meta["size"] > _SMALL_BYTES:
                raise StoreError(self.uri.child(key), f"has {result.meta['size']:,} bytes, too many to be read at once")
            data = bytes(result.bytes())
            if len(data) != result.meta["size"]:
                raise StoreUnavailableError(self.uri.child(key), f"the store sent {len(data):,} bytes of it only")
            return data, _version(result.meta)

        data, version = self._asked(key, attempt)
        self._count("read_bytes", len(data))
        return data, version

    def put(self, key: str, data: Data) -> None:
        """Write a small object, in place of one that is there."""
        self._put(key, data, None)

    def create(self, key: str, data: Data) -> str:
        """Write a small object that is not there yet, and return its version."""
        try:
            return self._put(key, data, "create")
        except ExistsError as error:
            return self._own_version(key, data, error)

    def replace(self, key: str, data: Data, version: str) -> str:
        """Write a small object in place of the one of this version, and return the new version."""
        try:
            return self._put(key, data, {"e_tag": version})
        except (ReplacedError, ObjectMissingError):
            lost = ReplacedError(self.uri.child(key), "is not the object that was seen before")
            return self._own_version(key, data, lost)

    def _own_version(self, key: str, data: Data, error: StoreError) -> str:
        """Return the version of an object that has these bytes: an earlier attempt's, whose answer was lost.

        Raises: `error` if it has not.
        """
        with suppress(ObjectMissingError):
            found, version = self.get(key)
            if found == bytes(data):
                return version
        raise error

    def _put(self, key: str, data: Data, mode: Any) -> str:
        content = bytes(data)
        result = self._asked(key, lambda path: obstore.put(self._bucket, path, content, mode=mode, use_multipart=False))
        self._count("written_bytes", len(content))
        return str(result["e_tag"])

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is not an error."""
        with suppress(ObjectMissingError):
            self._asked(key, lambda path: obstore.delete(self._bucket, path))

    def remove_folders(self, prefix: str) -> None:
        """Do nothing: a bucket has no folders."""

    def writer(self, key: str, size: int | None = None) -> AbstractContextManager[RemoteWriter]:
        """Return a writer of a large object."""
        uri = self.uri.child(key)
        return RemoteWriter(self._bucket, uri, size, partial(self._count, "written_bytes"))

    def _asked(self, key: str, ask: Callable[[str], Any]) -> Any:
        """Return what the library returns for the path of a key, which is asked again if that may help."""
        uri = self.uri.child(key) if key else self.uri

        def attempt() -> Any:
            self._count("requests")
            with translated(uri):
                return ask(uri.path)

        return retried(attempt, self._remote.attempts, partial(self._count, "retries"))

    def _count(self, kind: Any, count: int = 1) -> None:
        self._remote.traffic.add(self.uri.scheme, kind, count)


_WEAK: Final = "modified "
"""What a version begins with that is no ETag."""


def _version(meta: Any) -> str:
    """Return an object's ETag; of a store without any, its time and size."""
    return meta["e_tag"] or f"{_WEAK}{meta['last_modified'].timestamp()} {meta['size']}"


def _bare(version: str) -> str:
    """Return an ETag without its quotes, which not every answer of a store has."""
    return version.strip('"')
