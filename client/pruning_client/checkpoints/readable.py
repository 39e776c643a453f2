"""A file that can be read at any place, and again. Here: one on the disk; files in object stores are in `jobs`."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from os import fspath
from pathlib import Path
from typing import IO, Final, Protocol, TypeAlias

from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.errors import CheckpointError
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.reasons import Reason
from pruning_proto.spans import spans

Part: TypeAlias = Callable[[int, int], memoryview]
"""Returns bytes, from one offset to another."""


class ReadableFile(Protocol):
    """A file as it was when this was made. What reads it fails if it has changed since."""

    @property
    def name(self) -> str:
        """What errors call it."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def reading(self) -> AbstractContextManager[Part]:
        """Return a function that reads parts, while inside; each may reuse the memory of the one before."""

    def pieces(self, ranges: ByteRanges) -> Iterator[memoryview]:
        """Return these ranges in pieces of any size. Use each before asking for the next."""


class Files(Protocol):
    """Where the bytes of paths are."""

    def open(self, path: Path) -> ReadableFile:
        """Return the file of a path. Raises: OSError."""


class DiskFile:
    """A regular file on the disk.

    It is read and not memory-mapped: a mapped file that another process truncates would end this one with a signal.
    Raises: OSError if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.name: Final = fspath(path)
        with path.open("rb", buffering=0) as file:
            self._version = _version(file)
        self.size: Final = self._version[-1]

    @contextmanager
    def reading(self) -> Iterator[Part]:
        """Return a function that reads parts, while inside; each reuses the memory of the one before.

        Raises: OSError. CheckpointError, also while reading, if the file has changed.
        """
        block = memoryview(b"")
        with Path(self.name).open("rb", buffering=0) as file:
            if _version(file) != self._version:
                raise self._changed()

            def part(begin: int, end: int) -> memoryview:
                nonlocal block
                if len(block) < end - begin:
                    block = memoryview(bytearray(end - begin))
                piece = block[: end - begin]
                file.seek(begin)
                if _fill(file, piece) < len(piece):
                    raise self._changed()
                return piece

            yield part

    def pieces(self, ranges: ByteRanges) -> Iterator[memoryview]:
        """Return these ranges in pieces, all in the same memory. Raises: as `reading`."""
        with self.reading() as part:
            for begin, end in ranges:
                for piece_begin, piece_end in spans(end - begin, CHUNK_BYTES):
                    yield part(begin + piece_begin, begin + piece_end)

    def _changed(self) -> CheckpointError:
        description = "the file was changed while it was read; try again when nothing writes it"
        return CheckpointError(f"{self.name}: {description}", reason=Reason.TRUNCATED)


class _Disk:
    """Files that are where their paths say."""

    def open(self, path: Path) -> DiskFile:
        """Return the file of a path."""
        return DiskFile(path)


DISK: Final[Files] = _Disk()


def check_regular(path: Path) -> None:
    """Refuse what cannot be read twice, before opening it could block for ever. Raises: OSError."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a regular file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file; it is read more than once, so give a file", str(path))


def _version(file: IO[bytes]) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written: its identity, time and, last, its size."""
    state = os.fstat(file.fileno())
    return (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)


def _fill(file: FileIO, piece: memoryview) -> int:
    """Read until `piece` is full or the file ends: one read returns at most 2 GiB, and less when interrupted."""
    filled = 0
    while filled < len(piece) and (count := file.readinto(piece[filled:])):
        filled += count
    return filled
