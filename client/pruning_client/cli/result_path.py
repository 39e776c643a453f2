"""Where a command writes its result: a new path, one that is replaced, or standard output.

A file that exists is replaced, as `cp` does, and without `--force` the command says so; `--no-clobber` refuses it.
A folder that holds only what an earlier run of such a source wrote is replaced in the same way. With `--force` any
model's folder is; no other folder ever is. With `-o -` the result is written to a temporary file, and to standard
output once it is complete: what reads the pipe gets a whole file or nothing.
"""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.pipeline import PIPELINE
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import RESULT, UsageError, titled
from pruning_client.errors import CheckpointError
from pruning_proto.names import HISTORY_KEY

STDOUT: Final = "-"
"""The path that stands for standard output."""

_OF_MODELS: Final = ("config.json", "model_index.json")
"""A folder that has one of these is a model's."""

_OTHER_WEIGHTS: Final = (".bin", ".pt", ".pth", ".ckpt")
"""Suffixes of weights that no run writes."""

_COPY_BYTES: Final = 1 << 20


def add_overwriting(parser: ArgumentParser) -> None:
    """Add --force and --no-clobber."""
    overwriting = titled(parser, RESULT).add_mutually_exclusive_group()
    overwriting.add_argument(
        "--force", action="store_true", help="replace the result if it exists, also a model's folder"
    )
    overwriting.add_argument("--no-clobber", action="store_true", help="refuse to replace a file that exists")


@dataclass(frozen=True, slots=True)
class ResultPath:
    """Where the result is written: `path` for functions, `name` for messages."""

    path: Path
    name: str
    is_replaced: bool = False

    def answer(self, value: Mapping[str, Any], text: str) -> Answer:
        """Return the answer of a command that wrote the result."""
        is_piped = self.name == STDOUT
        wrote = "wrote to standard output" if is_piped else f"wrote {self.name}"
        wrote += ", replacing what was there" if self.is_replaced else ""
        return Answer({**value, "out": self.name}, f"{text}\n{wrote}", is_beside_result=is_piped)


@contextmanager
def result_path(options: Namespace, source: Path | None = None) -> Iterator[ResultPath]:
    """Return where to write; when the block ends well, what is there takes its final place.

    `source`: what is read, where that is not the path that the options name.

    Raises: OSError if it exists and may not be replaced. UsageError if standard output is no place for it.
    """
    out, source = Path(options.out), source or Path(options.source)
    if str(out) == STDOUT:
        yield from _piped(source)
    elif options.no_clobber and os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, "exists already; name a new one, or leave out --no-clobber", str(out))
    elif source.is_dir() and may_replace_folder(options, source):
        yield from _replaced_folder(source, out, says_so=not options.force)
    else:
        yield ResultPath(out, str(out), is_replaced=out.exists() and not options.force)


def may_replace_folder(options: Namespace, source: Path) -> bool:
    """Whether the target is there and a folder's result may replace it: with --force, or if it is an earlier result."""
    out = Path(options.out)
    return os.path.lexists(out) and (options.force or (not options.no_clobber and _is_earlier_result(out, source)))


def _is_earlier_result(folder: Path, source: Path) -> bool:
    """Whether a model's own weights have a history, and nothing is beside them that a run does not write.

    A trainer's or a hub's copy has no history. Results in subfolders do not make a model's folder an earlier result.
    Neither is a folder one with files that the source does not have, such as checkpoints, evaluations or notes.
    """
    own = "*/*.safetensors" if (folder / PIPELINE).is_file() else "*.safetensors"
    if not folder.is_dir() or any(_is_foreign(path, folder, source) for path in folder.rglob("*")):
        return False
    try:
        is_whole = all(HISTORY_KEY in FileSource(path).layout.metadata for path in folder.rglob("*.safetensors"))
    except (OSError, CheckpointError):
        return False
    return is_whole and next(folder.glob(own), None) is not None


def _is_foreign(path: Path, folder: Path, source: Path) -> bool:
    """Whether a run from this source would not have written a file: the source lacks it, and it has no weights."""
    if path.is_dir() and not path.is_symlink():
        return False
    is_weights = path.name.endswith((".safetensors", ".safetensors.index.json"))
    return path.suffix in _OTHER_WEIGHTS or not (is_weights or os.path.lexists(source / path.relative_to(folder)))


def _piped(source: Path) -> Iterator[ResultPath]:
    if source.is_dir():
        raise UsageError("-o -: the result of a folder is a folder, not a stream; name a new folder")
    if sys.stdout.isatty():
        raise UsageError("-o -: standard output is a terminal; redirect it to a file or a command, or name a file")
    with tempfile.TemporaryDirectory(prefix="prune-") as folder:
        path = Path(folder) / "result.safetensors"
        yield ResultPath(path, STDOUT)
        with path.open("rb") as result:
            shutil.copyfileobj(result, sys.stdout.buffer, _COPY_BYTES)
        sys.stdout.buffer.flush()


def _replaced_folder(source: Path, out: Path, *, says_so: bool) -> Iterator[ResultPath]:
    """Return a path beside the folder; then rename the folder there away, rename the new one, and remove the old."""
    _check_replaceable(source, out)
    mark = secrets.token_hex(8)
    new, old = out.with_name(f".prune-{mark}.new"), out.with_name(f".prune-{mark}.old")
    try:
        yield ResultPath(new, str(out), is_replaced=says_so)
        out.rename(old)
        try:
            new.rename(out)
        except OSError:
            old.rename(out)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(source: Path, out: Path) -> None:
    """Refuse a folder that may hold more than an earlier result, and the source itself."""
    if out.is_symlink() or not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder, and is not replaced by one", str(out))
    if not any((out / name).is_file() for name in _OF_MODELS):
        description = (
            f"is not a model's folder (it has no {' or '.join(_OF_MODELS)}), and is not replaced; remove it first"
        )
        raise FileExistsError(errno.EEXIST, description, str(out))
    paths = (source.resolve(), out.resolve())
    if paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0]):
        description = "is the source, or one of the two contains the other; name another folder"
        raise FileExistsError(errno.EEXIST, description, str(out))
