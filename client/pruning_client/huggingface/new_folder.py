"""A folder that is written beside its target and renamed when it is whole; an existing target is never overwritten."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, ENOENT
from os import PathLike
from pathlib import Path


def check_new(target: str | PathLike[str]) -> None:
    """Raise OSError if the target exists already, or its parent folder does not."""
    if os.path.lexists(target):
        description = "is there already, and a folder is not overwritten; name a new one, or replace it with --force"
        raise FileExistsError(EEXIST, description, str(target))
    if not Path(target).parent.is_dir():
        raise FileNotFoundError(ENOENT, "is not a folder", str(Path(target).parent))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Return the path of a folder to be made inside, which gets the name of the target at the end; else it is removed.

    Raises: OSError if the target is there by then.
    """
    folder = target.with_name(f".prune-{secrets.token_hex(8)}.part")
    try:
        yield folder
        check_new(target)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
