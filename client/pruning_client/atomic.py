"""A file that is written whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(target: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `target` when the block ends well, and is gone when it does not.

    It stands beside the target, for a rename is atomic only within one file system. A link is followed, and the mode
    of a file that was there is kept.
    Raises: OSError if the target cannot be written or is no regular file.
    """
    path = Path(os.path.realpath(target))
    mode = _mode_to_keep(path)
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            yield file
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _mode_to_keep(path: Path) -> int | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):  # replacing /dev/null would be remembered
        raise OSError(f"{path} is not a regular file, and cannot be replaced by one")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
