"""A folder for one process, removed when it ends; the folder of a killed process is removed by the next one.

A process holds a lock on its folder, which the system releases however the process ends. So a folder of ours that has
files and no lock is abandoned.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "prune-"
_LONGEST: Final = 100  # a socket's path may have 107 bytes, its name included


@contextmanager
def private_folder(contents: Iterable[str]) -> Iterator[Path]:
    """Make a folder with a short path for files of the names `contents`, and remove it when the block ends.

    Folders that killed processes left, with nothing but such files, are removed too.
    """
    folder = _make()
    try:
        with _lock(folder, fcntl.LOCK_EX):
            _sweep(folder.parent, set(contents))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make() -> Path:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # only this user may enter it
    if len(str(folder)) < _LONGEST:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))  # private all the same, and short enough


@contextmanager
def _lock(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _sweep(place: Path, contents: set[str]) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or gone already
            _remove_if_left(folder, contents)


def _remove_if_left(folder: Path, contents: set[str]) -> None:
    with _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        files = list(folder.iterdir())
        is_ours = folder.stat().st_uid == os.getuid() and {file.name for file in files} <= contents
        if not files or not is_ours:  # an empty one is being made; anything else belongs to others
            return
        for file in files:
            file.unlink()
        folder.rmdir()
