"""What every store can do, wherever its objects are."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pruning_service.stores.uris import StoreUri

Data: TypeAlias = bytes | bytearray | memoryview

ByteRange: TypeAlias = tuple[int, int]
"""The first byte, and the first one after the last."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was seen: its key in the store, its size in bytes, and what changes when it does (its ETag)."""

    key: str
    size: int
    version: str


class Writer(Protocol):
    """Writes one object from its beginning to its end. It is not visible, not in part either, before `complete`."""

    def write(self, data: Data) -> None:
        """Append bytes, which may be changed afterwards. Raises: StoreError."""

    def complete(self) -> None:
        """Make the object visible, in place of one that is there. Raises: StoreError."""


class Store(Protocol):
    """The objects below a place; a key is the part of an object's URI that is below it. Used from any thread."""

    @property
    def uri(self) -> StoreUri:
        """The place."""

    def find(self, key: str) -> StoredObject:
        """Return what there is about an object. Raises: StoreError; ObjectMissingError."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield all objects below a key, or all, in no particular order. Raises: StoreError."""

    def read(self, found: StoredObject, ranges: Sequence[ByteRange]) -> Iterator[memoryview]:
        """Yield the bytes of ranges of an object, one after the other, in pieces of any size, in little memory.

        Ranges may be empty; they ascend and do not overlap. Use each piece before asking for the next. What follows is
        fetched while a piece is used.
        Raises: StoreError; ObjectChangedError if the object is not the one that was found any more.
        """

    def read_into(self, found: StoredObject, begin: int, target: memoryview) -> None:
        """Fill `target` with the bytes of an object from `begin` on. Raises: as `read`."""

    def get(self, key: str) -> tuple[bytes, str]:
        """Return a small object whole, with its version. Raises: StoreError; ObjectMissingError."""

    def put(self, key: str, data: Data) -> None:
        """Write a small object, in place of one that is there. Raises: StoreError."""

    def create(self, key: str, data: Data) -> str:
        """Write a small object that is not there yet, and return its version: of many who try, one succeeds.

        An object with exactly these bytes counts as created, because an answer may get lost and the request be sent
        again: who is to be the only one writes something that nobody else does.
        Raises: StoreError; ExistsError.
        """

    def replace(self, key: str, data: Data, version: str) -> str:
        """Write a small object in place of the one of this version, and return the new version.

        An object with exactly these bytes counts as replaced, as for `create`. Raises: StoreError; ReplacedError.
        """

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is not an error. Raises: StoreError."""

    def remove_folders(self, prefix: str) -> None:
        """Remove the empty folders below a prefix, and its own; a store without folders does nothing.

        Raises: StoreError.
        """

    def writer(self, key: str, size: int | None = None) -> AbstractContextManager[Writer]:
        """Return a writer of a large object; what is not complete when its block ends is gone.

        `size`: of the object, where it is known; without, it may have 150 GB.
        Raises: StoreError.
        """
