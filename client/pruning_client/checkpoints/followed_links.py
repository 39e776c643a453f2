"""Links on the way to a file that is written: followed as the kernel does where `fs.protected_symlinks` is on.

`os.path.realpath` reads links instead of opening them, so the kernel's own check does not see it.
"""

import errno
import os
import stat
from os import PathLike
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40
"""Links on the way to one file, as in Linux."""


def followed(path: str | PathLike[str]) -> Path:
    """Return a path without links in it, whether it exists or not.

    Raises: PermissionError for a link of another user in a sticky folder that everyone may write to, such as /tmp:
    it may have been put there so that a file of this user is replaced. OSError for links that do not end.
    """
    current, waiting, links = Path("/"), [*reversed((Path.cwd() / path).parts[1:])], 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            current = current.parent
        elif not (current / part).is_symlink():
            current /= part
        else:
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            _check(current / part)
            target = (current / part).readlink()
            current = Path("/") if target.is_absolute() else current
            waiting += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return current


def _check(link: Path) -> None:
    folder, owner = link.parent.stat(), link.lstat().st_uid
    is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if is_shared and owner not in (os.geteuid(), folder.st_uid):
        description = "is a link of another user in a folder that everyone may write to, and is not followed; name its "
        raise PermissionError(errno.EACCES, f"{description}target, or another file", str(link))
