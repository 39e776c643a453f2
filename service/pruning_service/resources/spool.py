"""Files in which the tensors of a call wait that does not fit into memory: to be read several times, or to be sent.

A file has no name: whatever happens to the server, the system frees its bytes. They are allocated before anything is
received, so that a full disk refuses a call at its beginning.
"""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from pruning_proto.reasons import Reason
from pruning_service.local_settings import SettingsError
from pruning_service.status import Refusal

_RETRY_SECONDS: Final = 15.0

_LARGE: Final = "/var/tmp"  # noqa: S108 - files there are made without names

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FOLDER: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)


class Spool:
    """The tensors of one call in a file, one after the other."""

    is_filled = False

    def __init__(self, file: BinaryIO) -> None:
        self.written_bytes = 0
        self._file = file

    def append(self, tensor: memoryview) -> None:
        """Write the bytes of a tensor behind all others. Raises: OSError."""
        left = tensor
        while len(left):
            written = os.pwrite(self._file.fileno(), left, self.written_bytes)
            left = left[written:]
            self.written_bytes += written

    def read_into(self, tensor: memoryview, begin: int) -> None:
        """Fill a tensor with what is in the file from a byte on. Raises: OSError, also if the file ends before."""
        left = tensor
        while len(left):
            count = os.preadv(self._file.fileno(), [left], begin)
            if not count:
                raise OSError(errno.EIO, "a spool file is shorter than what was written to it")
            left, begin = left[count:], begin + count

    def read_ranges(self, data: memoryview, ranges: Sequence[tuple[int, int]]) -> None:
        """Fill `data` with what is in ranges of the file, one after the other. Raises: OSError."""
        for begin, end in ranges:
            self.read_into(data[: end - begin], begin)
            data = data[end - begin :]


class SpoolDirectory:
    """A folder for spool files, which together may take `total_bytes`."""

    def __init__(self, folder: Path, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._folder = folder
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises: SettingsError if no file can be made there."""
        try:
            self._file().close()
        except OSError as error:
            raise SettingsError(
                f"PRUNING_SPOOL_DIR: no file can be made in {str(self._folder)!r} ({error.strerror}); name a folder "
                "that the server may write to"
            ) from error

    @contextmanager
    def spool(self, size: int) -> Iterator[Spool]:
        """Yield a file with room for `size` bytes, gone at the end.

        Raises: Refusal MODEL_TOO_LARGE if it can never be had, NO_ROOM if it cannot now; OSError.
        """
        self._reserve(size)
        try:
            with self._file_for(size) as file:
                if size:
                    _allocate(file, size)
                yield Spool(file)
        finally:
            with self._lock:
                self.used_bytes -= size

    def _file(self) -> BinaryIO:
        return tempfile.TemporaryFile(dir=self._folder, prefix="pruning-", buffering=0)

    def _file_for(self, size: int) -> BinaryIO:
        try:
            return self._file()
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            raise _too_large(
                size, f"no file can be made in the folder for them ({error.strerror}): name one in PRUNING_SPOOL_DIR"
            ) from error

    def _reserve(self, size: int) -> None:
        with self._lock:
            if size > self.total_bytes:
                raise _too_large(
                    size,
                    f"only {self.total_bytes:,} may be kept there (PRUNING_SPOOL_BYTES)",
                    budget_bytes=str(self.total_bytes),
                )
            if self.used_bytes + size > self.total_bytes:
                raise _no_room(size, f"{self.used_bytes:,} of {self.total_bytes:,} bytes on disk are in use")
            self.used_bytes += size


def default_spool_folder() -> Path:
    """Return the system's folder for large temporary files: `TMPDIR`, or /var/tmp, since /tmp is often in memory."""
    is_named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return Path(tempfile.gettempdir() if is_named or not os.access(_LARGE, os.W_OK | os.X_OK) else _LARGE)


def _allocate(file: BinaryIO, size: int) -> None:
    """Reserve the bytes of a file, where the system can. Raises: Refusal NO_ROOM; OSError."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _no_room(size, f"the disk of PRUNING_SPOOL_DIR has no room ({error.strerror})") from error
        raise


def _too_large(size: int, why: str, **metadata: str) -> Refusal:
    return Refusal(
        reason=Reason.MODEL_TOO_LARGE,
        message=f"{_described(size)}, but {why}",
        metadata={"needed_bytes": str(size), **metadata},
    )


def _no_room(size: int, why: str) -> Refusal:
    return Refusal(
        reason=Reason.NO_ROOM,
        message=f"{_described(size)}, but {why}; try again later",
        metadata={"needed_bytes": str(size)},
        retry_seconds=_RETRY_SECONDS,
    )


def _described(size: int) -> str:
    return f"the call does not fit into memory, so that {size:,} bytes of its tensors are to be kept on disk"
