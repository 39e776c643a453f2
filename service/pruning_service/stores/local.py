"""Objects that are files below a folder of this machine, read and written with the system's own calls.

A key is a path below the folder. Where the folder may only be opened up to a `root`, what is opened is looked at once
it is open: a link, or a folder on the way, that leaves the root is refused, and cannot be put in place after the look.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from pruning_proto.limits import MIB
from pruning_proto.spans import spans
from pruning_service.stores.errors import (
    AccessDeniedError,
    ExistsError,
    ObjectMissingError,
    ReplacedError,
    StoreError,
)
from pruning_service.stores.local_errors import changed, translated
from pruning_service.stores.local_writing import LocalWriter, is_unfinished, write_whole
from pruning_service.stores.store import ByteRange, Data, StoredObject
from pruning_service.stores.traffic import Traffic
from pruning_service.stores.uris import StoreUri

_BLOCK_BYTES: Final = MIB

_HASHED_BYTES: Final = 64 * 1024
"""Up to this size a version is a digest, as S3's ETags are: two files may get the same inode at the same time."""


_FOLDER_ATTEMPTS: Final = 100
"""To make a folder and write into it before another process removes it for being empty."""


class LocalStore:
    """A `Store` of the files below a folder. `root`: what may be opened; None: everything."""

    def __init__(self, uri: StoreUri, traffic: Traffic, root: Path | None = None) -> None:
        self.uri = uri
        self._traffic = traffic
        self._folder = Path("/") / uri.path
        self._root = None if root is None else os.path.realpath(root)

    def find(self, key: str) -> StoredObject:
        """Return what there is about a file."""
        with self._opened(key) as descriptor:
            return StoredObject(key, os.fstat(descriptor).st_size, _version(descriptor))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield all files below a folder, or all; unfinished ones are not there yet."""
        top = self._path(prefix) if prefix else self._folder
        for folder, folders, files in os.walk(top, onerror=partial(_raise_unless_missing, self.uri)):
            for name in folders:
                if (Path(folder) / name).is_symlink():
                    place = self.uri.child((Path(folder) / name).relative_to(self._folder).as_posix())
                    raise AccessDeniedError(place, "is a link to a folder, which is not followed; copy it there")
            for name in files:
                if not is_unfinished(name):
                    yield self.find((Path(folder) / name).relative_to(self._folder).as_posix())

    def read(self, found: StoredObject, ranges: Sequence[ByteRange]) -> Iterator[memoryview]:
        """Yield the bytes of ranges of a file, all in the same memory."""
        block = memoryview(bytearray(_BLOCK_BYTES))
        with self._opened(found.key, found.version) as descriptor:
            for begin, end in ranges:
                for first, last in spans(end - begin, _BLOCK_BYTES):
                    piece = block[: last - first]
                    self._fill(found, descriptor, begin + first, piece)
                    yield piece
            if _version(descriptor) != found.version:  # written in place
                raise changed(self.uri.child(found.key))

    def read_into(self, found: StoredObject, begin: int, target: memoryview) -> None:
        """Fill `target` with the bytes of a file from `begin` on."""
        with self._opened(found.key, found.version) as descriptor:
            self._fill(found, descriptor, begin, target)

    def _fill(self, found: StoredObject, descriptor: int, begin: int, target: memoryview) -> None:
        filled = 0
        while filled < len(target):
            count = os.preadv(descriptor, [target[filled:]], begin + filled)
            if not count:
                raise changed(self.uri.child(found.key))
            filled += count
        self._traffic.add("file", "read_bytes", filled)

    def get(self, key: str) -> tuple[bytes, str]:
        """Return a small file whole, with its version."""
        with self._opened(key) as descriptor:
            data = _content(descriptor)
            self._traffic.add("file", "read_bytes", len(data))
            return data, _version_of(data) if len(data) <= _HASHED_BYTES else _version(descriptor)

    def put(self, key: str, data: Data) -> None:
        """Write a small file, in place of one that is there."""
        self._write_whole(key, data)
        self._traffic.add("file", "written_bytes", len(data))

    def create(self, key: str, data: Data) -> str:
        """Write a small file that is not there yet, and return its version."""
        if not self._write_whole(key, data, is_new=True):
            return self._own_version(key, data, ExistsError(self.uri.child(key), "is there already"))
        self._traffic.add("file", "written_bytes", len(data))
        return self.find(key).version if len(data) > _HASHED_BYTES else _version_of(data)

    def _write_whole(self, key: str, data: Data, *, is_new: bool = False) -> bool:
        """Write a small file; return whether it is written: a new one is not if there is one already.

        Whoever removes empty folders may take that of the file before the file is in it, so that it is made again.
        """
        for attempt in range(_FOLDER_ATTEMPTS):
            try:
                with self._parent(key) as (parent, name):
                    try:
                        write_whole(parent, name, data, is_new=is_new)
                    except FileExistsError:
                        return False
                    return True
            except ObjectMissingError:
                if attempt == _FOLDER_ATTEMPTS - 1:
                    raise
        raise AssertionError

    def replace(self, key: str, data: Data, version: str) -> str:
        """Write a small file in place of the one of this version, and return the new version.

        Who replaces holds a lock on the file that is there, and looks at its version while holding it.
        """
        lost = ReplacedError(self.uri.child(key), "is not the object that was seen before")
        try:
            with self._opened(key) as descriptor, self._parent(key) as (parent, name):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_there(descriptor, parent, name) and _version(descriptor) == version:
                    write_whole(parent, name, data)
                    self._traffic.add("file", "written_bytes", len(data))
                    return _version_of(bytes(data)) if len(data) <= _HASHED_BYTES else self.find(key).version
        except ObjectMissingError:
            raise lost from None
        return self._own_version(key, data, lost)

    def _own_version(self, key: str, data: Data, error: StoreError) -> str:
        """Return the version of a file that has these bytes. Raises: `error` if it has not."""
        with suppress(ObjectMissingError):
            found, version = self.get(key)
            if found == bytes(data):
                return version
        raise error

    def delete(self, key: str) -> None:
        """Delete a file; one that is not there is not an error."""
        with (
            suppress(ObjectMissingError),
            self._parent(key, makes=False) as (parent, name),
            suppress(FileNotFoundError),
        ):
            os.unlink(name, dir_fd=parent)

    def remove_folders(self, prefix: str) -> None:
        """Remove the empty folders below a folder, and itself if it is empty then; no link is followed."""
        with suppress(ObjectMissingError), self._parent(prefix, makes=False) as (parent, name):
            for _, folders, _, folder in os.fwalk(name, topdown=False, dir_fd=parent):
                for entry in folders:
                    with suppress(OSError):  # something is in it, or it is a link
                        os.rmdir(entry, dir_fd=folder)
            with suppress(OSError):
                os.rmdir(name, dir_fd=parent)

    @contextmanager
    def writer(self, key: str, size: int | None = None) -> Iterator[LocalWriter]:  # noqa: ARG002 - a file has no parts
        """Return a writer of a large file."""
        uri, count = self.uri.child(key), partial(self._traffic.add, "file", "written_bytes")
        with ExitStack() as stack:
            with translated(uri):  # and not what the block raises, which may be about other files
                parent, name = stack.enter_context(self._open_parent(uri, makes=True))
                writer = stack.enter_context(LocalWriter(parent, name, uri, count))
            yield writer

    def _path(self, key: str) -> Path:
        return Path("/") / self.uri.child(key).path

    @contextmanager
    def _opened(self, key: str, version: str | None = None) -> Iterator[int]:
        """Open a file to read, while inside; of a version, if one is given."""
        uri = self.uri.child(key) if key else self.uri
        with translated(uri, is_pinned=version is not None):
            descriptor = os.open(Path("/") / uri.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._check_inside(uri, descriptor)
                _check_regular(uri, os.fstat(descriptor).st_mode)
                if version is not None and _version(descriptor) != version:
                    raise changed(uri)
                yield descriptor
            finally:
                os.close(descriptor)

    @contextmanager
    def _parent(self, key: str, *, makes: bool = True) -> Iterator[tuple[int, str]]:
        """Open the folder of a file, while inside; folders that are missing are made."""
        uri = self.uri.child(key)
        with translated(uri), self._open_parent(uri, makes=makes) as parent:
            yield parent

    @contextmanager
    def _open_parent(self, uri: StoreUri, *, makes: bool) -> Iterator[tuple[int, str]]:
        folder = Path("/") / uri.parent.path
        if makes:
            self._make_folders(uri, folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check_inside(uri, descriptor)
            yield descriptor, uri.name
        finally:
            os.close(descriptor)

    def _make_folders(self, uri: StoreUri, folder: Path) -> None:
        """Make the folders that are missing, unless the last one there is leaves the root."""
        there = folder
        while not there.is_dir() and there != there.parent:
            there = there.parent
        descriptor = os.open(there, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check_inside(uri, descriptor)
            for name in folder.relative_to(there).parts:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
        finally:
            os.close(descriptor)

    def _check_inside(self, uri: StoreUri, descriptor: int) -> None:
        """Refuse what is open and not below the root, by whatever links it was reached. Raises: AccessDeniedError."""
        if self._root is None:
            return
        path = _path_of(descriptor)
        if path != self._root and not path.startswith(f"{self._root.rstrip('/')}/"):
            if not Path(self._root).is_dir():
                raise AccessDeniedError(uri, "is in a place of PRUNING_STORES whose folder does not exist; make it")
            raise AccessDeniedError(uri, "leads out of the folder that may be opened, through a link")


def _check_regular(uri: StoreUri, mode: int) -> None:
    """Refuse what is not an object: a folder, as stores do, and what cannot be read twice. Raises: StoreError."""
    if stat.S_ISDIR(mode):
        raise ObjectMissingError(uri, "is a folder, and not an object")
    if not stat.S_ISREG(mode):
        raise StoreError(uri, "is not a regular file")


def _path_of(descriptor: int) -> str:
    """Return the path of what is open, without links in it."""
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _is_there(descriptor: int, parent: int, name: str) -> bool:
    """Whether an open file still has its name: who replaces it gives the name to another file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=parent))
    except FileNotFoundError:
        return False


def _version(descriptor: int) -> str:
    """Return what changes with a file: a small one's digest, a large one's identity, time and size."""
    state = os.fstat(descriptor)
    if state.st_size <= _HASHED_BYTES:
        return _version_of(_content(descriptor))
    return f"{state.st_dev:x}-{state.st_ino:x}-{state.st_mtime_ns:x}-{state.st_size:x}"


def _version_of(data: Data) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _content(descriptor: int) -> bytes:
    parts, at = [], 0
    while part := os.pread(descriptor, MIB, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _raise_unless_missing(uri: StoreUri, error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        with translated(uri):
            raise error
