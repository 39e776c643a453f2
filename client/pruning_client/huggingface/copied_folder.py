"""A model's folder copied: which links are followed, and with which permissions files and folders are copied.

A folder may come from anyone. A link in it that leaves it would copy a file of its reader, such as a private key, into
a result that is published; so such links are refused by name before anything is read. Those of a download of Hugging
Face, `models--ORG--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH`, are followed.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pruning_client.checkpoints.atomic_file import PERMISSIONS
from pruning_client.errors import CheckpointError
from pruning_client.huggingface.copied_files import is_never_copied


def check_links(folder: Path) -> None:
    """Refuse a folder with a link that leaves it, or whose links to folders would be copied again and again.

    Links to files of the folder, to its folders without further links to folders, and to the blobs of a download's
    cache are allowed.
    Raises: CheckpointError that names the link. OSError if a folder cannot be read.
    """
    root = Path(os.path.realpath(folder))
    allowed = _Allowed(root, _blobs_of(root))
    for link, is_inside_another in _links(root, is_linked=False):
        reason = allowed.refusal(link, is_inside_another=is_inside_another)
        if reason is not None:
            name = folder / link.relative_to(root)
            raise CheckpointError(
                f"{name}: is a link to {str(link.readlink())!r}, {reason}. Links are followed within "
                "the model's folder, and into the blobs of a Hugging Face cache; remove the link, or put a copy "
                "of the file in its place"
            )


def copy_folder(source: Path, target: Path, is_left_out: Callable[[Path], bool]) -> None:
    """Copy the files and folders of `source` but those left out; links become files. Call `check_links` first.

    Permissions and times are kept; set-uid, set-gid, extended attributes and owners are not, and the owner may write
    into each folder.
    Raises: OSError that names the first file that cannot be copied.
    """

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if is_left_out(Path(folder) / name)]

    try:
        shutil.copytree(source, target, ignore=ignored, copy_function=_copy_file)
    except shutil.Error as error:  # one text for each file that failed
        failed, _, why = error.args[0][0]
        raise OSError(None, str(why), failed) from error
    finally:
        for folder, _, _ in os.walk(target):
            path = Path(folder)
            path.chmod(path.stat().st_mode & PERMISSIONS | stat.S_IRWXU)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What links of a folder may lead to: files and folders under `root`, and files of `blobs`."""

    root: Path
    blobs: Path | None

    def refusal(self, link: Path, *, is_inside_another: bool) -> str | None:
        """Return why a link is not followed; None if it is."""
        target = Path(os.path.realpath(link))
        if target.parent == self.blobs:
            return None if target.is_file() else "which is not a file of the cache"
        if not target.is_relative_to(self.root):
            return "which leaves the folder"
        if any(map(is_never_copied, target.relative_to(self.root).parts)):
            return "which is not part of the model"
        if target.is_dir() and (is_inside_another or link.is_relative_to(target)):
            return "a folder that would be copied again and again"
        return None


def _links(folder: Path, *, is_linked: bool) -> Iterator[tuple[Path, bool]]:
    """Return the links below a folder, each with whether its folder was reached by another link.

    Call `refusal` for each before the next: a folder that a link leads to is entered only then.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_never_copied(entry.name):
                continue
            is_link = entry.is_symlink()
            if is_link:
                yield Path(entry.path), is_linked
            if entry.is_dir():
                yield from _links(Path(entry.path), is_linked=is_linked or is_link)


def _blobs_of(root: Path) -> Path | None:
    """Return the folder of a cache's files if the model's folder is one of its snapshots, or part of one."""
    for folder in (root, *root.parents):
        repository = folder.parent.parent
        if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
            return repository / "blobs"
    return None


def _copy_file(source: str, target: str) -> None:
    info = Path(source).stat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", source)
    shutil.copyfile(source, target)
    os.chmod(target, info.st_mode & PERMISSIONS)  # noqa: PTH101 - shutil's names are strings
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
