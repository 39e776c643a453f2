"""What is kept of a divided job: its division, and a record for each finished part of each phase."""

from contextlib import suppress
from typing import Protocol

from pruning_service.stores.errors import ObjectMissingError
from pruning_service.stores.store import Store
from pruning_service.stores.uris import StoreUri


class PartRecords(Protocol):
    """The records of one job. Names are letters, digits and any of `. _ -`."""

    @property
    def uri(self) -> StoreUri:
        """The place below which each record is an object of its name."""

    def part(self, name: str) -> bytes | None:
        """Return a record; None if there is none. Raises: StoreError."""

    def keep_part(self, name: str, data: bytes) -> None:
        """Keep a record. Raises: StoreError; whatever says that this process may not go on."""


class StoredRecords:
    """Records below a place, for a run that is nobody else's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.uri = store.uri

    def part(self, name: str) -> bytes | None:
        """Return a record; None if there is none. Raises: StoreError."""
        try:
            return self._store.get(name)[0]
        except ObjectMissingError:
            return None

    def keep_part(self, name: str, data: bytes) -> None:
        """Keep a record. Raises: StoreError."""
        self._store.put(name, data)

    def delete(self) -> None:
        """Delete all records. Raises: StoreError."""
        for found in list(self._store.list()):
            with suppress(ObjectMissingError):
                self._store.delete(found.key)
