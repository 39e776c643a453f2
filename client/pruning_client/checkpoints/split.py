"""A result written into several safetensors files while it is received: shards, or the components of a pipeline."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pruning_client.checkpoints.atomic_file import WRITE_BYTES, naming, replacing
from pruning_client.checkpoints.weight_files import WeightNames
from pruning_proto.safetensors.alignment import aligned
from pruning_proto.safetensors.header import Layout, TensorEntry, build

if TYPE_CHECKING:
    from pruning_proto.framing import Data  # imports protobuf, which commands on files do not need

_TOTALS: Final = ("total_size", "total_parameters")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """The file of a tensor, as a path in the folder, and the tensor's name there."""

    file: str
    name: str


Places: TypeAlias = Callable[[Layout, Mapping[str, str]], Mapping[str, Place]]
"""Returns the place of each tensor of a result, given its header, and the source's names of renumbered tensors."""


def shards_by_size(entries: Sequence[TensorEntry], most_bytes: int) -> dict[str, int]:
    """Return the number of the shard of each tensor, so that none has more than `most_bytes`, unless a tensor has."""
    number, filled = 0, 0
    numbers: dict[str, int] = {}
    for entry in entries:
        nbytes = entry.end - entry.begin
        if numbers and filled + nbytes > most_bytes:
            number, filled = number + 1, 0
        numbers[entry.name] = number
        filled += nbytes
    return numbers


class ShardFiles(Protocol):
    """Where the files of a split result are written. Each is complete when `end` was called for it."""

    def create(self, file: str, header: bytes, size: int, *, is_in_order: bool) -> None:
        """Begin a file, anew if there is one, with its header; `is_in_order`: its bytes come from first to last."""

    def write(self, file: str, data: memoryview, position: int) -> None:
        """Write bytes at a position of a file. Raises: OSError that names the file."""

    def end(self, file: str) -> None:
        """Complete a file, all of whose bytes were written; more time may pass until it is."""

    def finish(self) -> None:
        """Wait until all files are complete; also called after a failure. Raises: OSError."""


class SplitFiles:
    """A result in several files; nothing is removed after a failure.

    `begin` takes the header of the result, `write` its buffer from the beginning to the end, in pieces, and `finish`
    ends it. `begin` may be called again: the files are then written anew. Each tensor is aligned in its file. `files`:
    where they are written; by default in `folder`, which must exist.
    """

    def __init__(self, folder: Path, places: Places, files: ShardFiles | None = None) -> None:
        self.folder = folder
        self._places = places
        self.files = FolderFiles(folder) if files is None else files
        self.contents: dict[str, list[TensorEntry]] = {}
        """The tensors of each file, by the names that they have there."""
        self.results: dict[str, list[str]] = {}
        """The names of the same in the result."""

    @property
    def is_on_disk(self) -> bool:
        """Whether the files take space on the disk of `folder`."""
        return isinstance(self.files, FolderFiles)

    def begin(self, layout: Layout, original: Mapping[str, str] = _NOTHING) -> None:
        """Create the files, each with its header. `original`: what renumbered tensors were called. Raises: OSError."""
        places = self._places(layout, original)
        sources: dict[str, list[TensorEntry]] = {}
        for entry in layout.tensors:
            sources.setdefault(places[entry.name].file, []).append(entry)
        self._parts: list[_Part] = []
        self.contents, self.results = {}, {}
        for file, entries in sources.items():
            self._create(file, aligned(entries), places, layout.metadata)
        self._parts.sort(key=lambda part: part.end)
        self._at, self._next = 0, 0

    def _create(
        self, file: str, entries: Sequence[TensorEntry], places: Mapping[str, Place], metadata: Mapping[str, str]
    ) -> None:
        header, layout = build([(places[entry.name].name, entry.dtype, entry.shape) for entry in entries], metadata)
        parts = [
            _Part(entry.end, file, layout.header_bytes + there.begin - entry.begin)
            for entry, there in zip(entries, layout.tensors, strict=True)
            if entry.end > entry.begin
        ]
        is_in_order = all(before.end < after.end for before, after in pairwise(parts))
        self.files.create(file, header, layout.total_bytes, is_in_order=is_in_order)
        if parts:
            max(parts, key=lambda part: part.end).is_last = True
        else:
            self.files.end(file)
        self._parts += parts
        self.contents[file] = list(layout.tensors)
        self.results[file] = [entry.name for entry in entries]

    def write(self, data: "Data") -> None:
        """Write the next bytes of the buffer. Raises: OSError that names the file."""
        rest = memoryview(data)
        while rest:
            part = self._parts[self._next]
            piece = rest[: part.end - self._at]
            self.files.write(part.file, piece, self._at + part.shift)
            self._at += len(piece)
            if self._at == part.end:
                self._next += 1
                if part.is_last:
                    self.files.end(part.file)
            rest = rest[len(piece) :]

    def finish(self) -> None:
        """Wait until all files are complete; also after a failure. Raises: OSError."""
        self.files.finish()


@dataclass(slots=True)
class _Part:
    """A tensor's place: its end in the result, its file, what its positions are shifted by there, and what follows."""

    end: int
    file: str
    shift: int
    is_last: bool = False


class FolderFiles:
    """Files in a folder, which must exist. While one is written, the one before is brought to the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: tuple[str, FileIO] | None = None
        self._syncing: tuple[ThreadPoolExecutor, list[Future[None]]] | None = None

    def create(self, file: str, header: bytes, size: int, *, is_in_order: bool) -> None:  # noqa: ARG002 - in any order
        """Begin a file with its header."""
        with naming(self._folder / file):
            (self._folder / file).write_bytes(header)

    def write(self, file: str, data: memoryview, position: int) -> None:
        """Write bytes at a position of a file."""
        with naming(self._folder / file):
            self._write(file, data, position)

    def end(self, file: str) -> None:
        """Do nothing: a file ends when another is written."""

    def finish(self) -> None:
        """End the last file, and wait until all are on the disk."""
        self._end_file()
        if self._syncing is not None:
            executor, files = self._syncing
            self._syncing = None
            executor.shutdown()
            for file in files:
                file.result()

    def _end_file(self) -> None:
        if self._open is not None:
            file, handle = self._open
            self._open = None
            self._syncing = self._syncing or (ThreadPoolExecutor(1, "prune-sync"), [])
            executor, files = self._syncing
            files.append(executor.submit(_sync, self._folder / file, handle))

    def _write(self, file: str, piece: memoryview, position: int) -> None:
        if self._open is None or self._open[0] != file:
            self._end_file()
            self._open = file, FileIO(self._folder / file, "r+")
        handle = self._open[1]
        handle.seek(position)
        while piece:
            piece = piece[handle.write(piece[:WRITE_BYTES]) :]


def _sync(path: Path, handle: FileIO) -> None:
    with handle, naming(path):
        os.fsync(handle.fileno())


def write_index(folder: Path, names: WeightNames, files: Mapping[str, Sequence[TensorEntry]], metadata: Any) -> None:
    """Write the index of the shards in a folder; `metadata` is that of an earlier index, but for its totals.

    Raises: OSError.
    """
    weight_map = {entry.name: file for file, entries in files.items() for entry in entries}
    entries = [entry for each in files.values() for entry in each]
    text = json.dumps({"metadata": _totals(metadata, entries), "weight_map": weight_map}, indent=2)
    with replacing(folder / names.index) as file:
        file.write(f"{text}\n".encode())


def _totals(metadata: Mapping[str, Any], entries: Sequence[TensorEntry]) -> dict[str, Any]:
    totals = {"total_size": sum(entry.end - entry.begin for entry in entries)}
    if "total_parameters" in metadata:
        totals["total_parameters"] = sum(prod(entry.shape) for entry in entries)
    return {**{key: value for key, value in metadata.items() if key not in _TOTALS}, **totals}
