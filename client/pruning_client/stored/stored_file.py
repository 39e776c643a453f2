"""A file in a store, read by ranges; what is read is of one version of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.readable import DISK, Part, ReadableFile
from pruning_proto.limits import MIB
from pruning_service.stores.store import Store, StoredObject

_BEGINNING_BYTES: Final = 128 * 1024
"""What is read first: the whole header of most files."""

_WINDOW_BYTES: Final = 4 * MIB


class StoredFile:
    """A `ReadableFile` in a store. Raises: StoreError."""

    def __init__(self, store: Store, key: str) -> None:
        self.store: Final = store
        self.found: Final[StoredObject] = store.find(key)
        self.name: Final = str(store.uri.child(key))
        self.size: Final = self.found.size
        self._beginning = self._read(0, min(_BEGINNING_BYTES, self.size))

    @contextmanager
    def reading(self) -> Iterator[Part]:
        """Return a function that reads parts, while inside; more than the part is fetched, for the next ones."""
        window, window_begin = self._beginning, 0

        def part(begin: int, end: int) -> memoryview:
            nonlocal window, window_begin
            if not window_begin <= begin <= end <= window_begin + len(window):
                window = self._read(begin, min(max(end, begin + _WINDOW_BYTES), self.size))
                window_begin = begin
            return window[begin - window_begin : end - window_begin]

        yield part

    def pieces(self, ranges: ByteRanges) -> Iterator[memoryview]:
        """Return these ranges in pieces. Raises: StoreError; ObjectChangedError if the file is another one now."""
        return self.store.read(self.found, ranges)

    def _read(self, begin: int, end: int) -> memoryview:
        data = memoryview(bytearray(end - begin))
        self.store.read_into(self.found, begin, data)
        return data


class StoredFiles:
    """`Files` of which those below a folder of the disk are in a store, by the same names; each is opened once."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._opened: dict[str, StoredFile] = {}

    def open(self, path: Path) -> ReadableFile:
        """Return the file of a path."""
        if not path.is_relative_to(self._folder):
            return DISK.open(path)
        key = path.relative_to(self._folder).as_posix()
        if key not in self._opened:
            self._opened[key] = StoredFile(self._store, key)
        return self._opened[key]
