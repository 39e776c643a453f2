"""A file that is written whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pruning_client.checkpoints.followed_links import followed

if TYPE_CHECKING:
    from pruning_proto.framing import Data  # imports protobuf, which commands on files do not need


PERMISSIONS: Final = 0o777
"""The bits of a mode that are kept. Set-uid, set-gid and sticky are not: a result is data."""


WRITE_BYTES: Final = 256 * 1024
"""The most that is written at once. For megabytes at a time, Linux looks for as large a piece of memory, and took up to
four times as long to write a file of 2 GB (ext4, Linux 6.18)."""


class Replacement:
    """A file that will take the place of `target`."""

    def __init__(self, descriptor: int, target: Path) -> None:
        self._descriptor = descriptor
        self._target = target

    def write(self, data: "Data") -> None:
        """Append bytes, unbuffered. Raises: OSError that names the target."""
        rest = memoryview(data)
        with naming(self._target):
            while rest:
                rest = rest[os.write(self._descriptor, rest[:WRITE_BYTES]) :]

    def write_at(self, position: int, data: "Data") -> None:
        """Write bytes at a position, unbuffered; `write` appends to what it has written itself.

        Raises: OSError that names the target.
        """
        rest = memoryview(data)
        with naming(self._target):
            while rest:
                count = os.pwrite(self._descriptor, rest[:WRITE_BYTES], position)
                position, rest = position + count, rest[count:]


@contextmanager
def replacing(target: str | PathLike[str]) -> Iterator[Replacement]:
    """Open a file that takes the place of `target` when the block ends well, and vanishes when it raises.

    It is in the target's folder, because a rename is atomic only within one file system; on Linux it has no name before
    it is whole, so that not even SIGKILL leaves it behind. A link is followed, unless it is another user's in a folder
    such as /tmp. The permissions of an existing target are kept, but not set-uid and set-gid.
    Raises: OSError if the target cannot be written or is not a regular file; it names the target or its folder.
    """
    path = followed(target)
    mode = _mode_to_keep(path)
    partial = path.with_name(f".prune-{secrets.token_hex(8)}.part")
    with naming(path.parent):
        descriptor = _create(partial)
    try:
        yield Replacement(descriptor, path)
        with naming(path):
            _finish(descriptor, mode)
            _give_name(descriptor, partial)
            partial.replace(path)
        with suppress(OSError):  # the target is replaced: this only makes it last through a power cut
            _sync_folder(path.parent)
    finally:
        os.close(descriptor)
        with suppress(OSError):
            partial.unlink()


def _mode_to_keep(path: Path) -> int | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a regular file", str(path))
    if not stat.S_ISREG(mode):  # replacing /dev/null would break the machine
        raise OSError(errno.EINVAL, "is not a regular file, and cannot be replaced by one", str(path))
    return mode & PERMISSIONS


def _create(partial: Path) -> int:
    """Open a file without a name, or with this one where the platform or the file system has no nameless files."""
    unnamed = getattr(os, "O_TMPFILE", None)
    if unnamed is not None and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.open(partial.parent, unnamed | os.O_WRONLY, 0o666)
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _finish(descriptor: int, mode: int | None) -> None:
    if mode is not None:
        os.fchmod(descriptor, mode)
    os.fsync(descriptor)


def _give_name(descriptor: int, partial: Path) -> None:
    if os.fstat(descriptor).st_nlink == 0:
        # Without a folder's descriptor Python calls link(2), which would not follow the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", partial, src_dir_fd=descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make errors name the path that the caller knows, never the temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
