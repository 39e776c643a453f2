"""A file that is written whole or not at all, in a folder that is open."""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from pruning_service.stores.local_errors import translated
from pruning_service.stores.store import Data
from pruning_service.stores.uris import StoreUri

UNFINISHED: Final = (".prune-", ".part")
"""What the name of a file that is being written begins and ends with."""

_WRITE_BYTES: Final = 256 * 1024
"""The most that is written at once: for more, Linux looks for larger pieces of memory, which takes longer."""


def is_unfinished(name: str) -> bool:
    """Whether a name is that of a file that is being written."""
    return name.startswith(UNFINISHED[0]) and name.endswith(UNFINISHED[1])


def is_unfinished_of(name: str, file: str) -> bool:
    """Whether a name is that of a file that is being written, to be called `file`."""
    return is_unfinished(name) and name.startswith(_beginning(file))


def _beginning(file: str) -> str:
    """Return what the name of a file begins with while it is written; not its own name, which may be of any length."""
    return f"{UNFINISHED[0]}{hashlib.sha256(file.encode()).hexdigest()[:12]}-"


def write_whole(parent: int, name: str, data: Data, *, is_new: bool = False) -> None:
    """Write a file at once. Raises: OSError; FileExistsError if it is to be new and is not."""
    with _unfinished(parent, name) as (partial, descriptor):
        _write(descriptor, data)
        os.fsync(descriptor)
        if is_new:
            os.link(partial, name, src_dir_fd=parent, dst_dir_fd=parent)
        else:
            os.replace(partial, name, src_dir_fd=parent, dst_dir_fd=parent)
    with suppress(OSError):  # the file is there: this only makes it last through a power cut
        os.fsync(parent)


class LocalWriter:
    """A `Writer`, as a context manager: what is not complete when the block ends is removed."""

    def __init__(self, parent: int, name: str, uri: StoreUri, count: Callable[[int], object]) -> None:
        self._parent = parent
        self._name = name
        self._uri = uri
        self._count = count
        self._context = _unfinished(parent, name)

    def __enter__(self) -> Self:
        self._partial, self._descriptor = self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, traceback)

    def write(self, data: Data) -> None:
        """Append bytes."""
        with translated(self._uri):
            _write(self._descriptor, data)
        self._count(len(data))

    def complete(self) -> None:
        """Bring the file to the disk, and give it its name."""
        with translated(self._uri):
            os.fsync(self._descriptor)
            os.replace(self._partial, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)


@contextmanager
def _unfinished(parent: int, file: str) -> Iterator[tuple[str, int]]:
    """Make a file under a name of its own, and remove it in the end if it still has that name."""
    name = f"{_beginning(file)}{secrets.token_hex(8)}{UNFINISHED[1]}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=parent)
    try:
        yield name, descriptor
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)


def _write(descriptor: int, data: Data) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:_WRITE_BYTES]) :]
