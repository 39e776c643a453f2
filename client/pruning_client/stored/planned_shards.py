"""The files of a result that tasks write, each by itself; or this process, where the plan is not divided."""

from collections.abc import Callable
from dataclasses import dataclass

from pruning_client.stored.target import StoredShards
from pruning_service.stores.store import Store


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that will be written: its header, and its size."""

    header: bytes
    size: int


class PlannedShards:
    """The `ShardFiles` of a result in a store: `planned` only, until it is said that they are not divided."""

    def __init__(self, store: Store, check: Callable[[], object]) -> None:
        self.store = store
        self.check = check
        self.planned: dict[str, PlannedFile] = {}
        self.is_planning = False
        self._written = StoredShards(store, check)

    @property
    def completed(self) -> list[str]:
        """The keys of objects that are visible."""
        return self._written.completed

    def create(self, file: str, header: bytes, size: int, *, is_in_order: bool) -> None:
        """Begin a file with its header, or note what it will be."""
        if self.is_planning:
            self.planned[file] = PlannedFile(header, size)
        else:
            self._written.create(file, header, size, is_in_order=is_in_order)

    def write(self, file: str, data: memoryview, position: int) -> None:
        """Write bytes at a position of a file."""
        self._written.write(file, data, position)

    def end(self, file: str) -> None:
        """Have a file completed."""
        if not self.is_planning:
            self._written.end(file)

    def finish(self) -> None:
        """Wait until all files are complete."""
        self._written.finish()
