"""Whether a result fits on the disk, checked as soon as its size is known: before a large model is sent."""

import errno
import shutil
from os import PathLike
from pathlib import Path
from typing import Final

_UNFINISHED: Final = ".prune-"
"""What the name of a folder begins with that is not complete; the caller does not know it."""


def check_free_space(target: str | PathLike[str], needed_bytes: int) -> None:
    """Refuse to begin a result that does not fit. What it replaces does not count: both exist for a while.

    Raises: OSError (ENOSPC) with both sizes.
    """
    folders = Path(target).resolve().parents
    folder = next(folder for folder in folders if not folder.name.startswith(_UNFINISHED))
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        description = (
            f"the result needs {needed_bytes:,} bytes, and this disk has {free_bytes:,} free; free some, or write to "
            "another disk"
        )
        raise OSError(errno.ENOSPC, description, str(folder))
