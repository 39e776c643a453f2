"""A checkpoint in several safetensors files, as Hugging Face's index names them, as one source."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.file import FileSource, pieces_of_all
from pruning_client.checkpoints.other_formats import READ_BYTES, description_of
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.checkpoints.stretches import Stretch
from pruning_client.errors import CheckpointError, layout_error
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError, build

_INDEX: Final = re.compile(r"\.safetensors\.index(\.[^./\\]+)?\.json$")  # with a variant, such as fp16


def is_index(path: str | PathLike[str]) -> bool:
    """Whether a path has the name of an index of several safetensors files."""
    return _INDEX.search(fspath(path)) is not None


def read_index(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the file of each tensor, and the metadata, of a valid index. Raises: OSError."""
    index = json.loads(path.read_bytes())
    metadata = index.get("metadata")
    return dict(index["weight_map"]), metadata if isinstance(metadata, dict) else {}


class ShardsSource:
    """The tensors of all shards that an index names, one shard after the other, like those of one file.

    Raises: OSError if a file cannot be read. CheckpointError if the index or a shard is not valid, or the shards do not
    contain the tensors that the index lists.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, path: str | PathLike[str], files: Files = DISK) -> None:
        self.path = fspath(path)
        file_of = self._read_index(Path(path))
        self._shards = [FileSource(Path(path).parent / name, files) for name in sorted(set(file_of.values()))]
        for shard in self._shards:
            shard.check_not_sharded()
        self._check_complete(file_of)
        entries = [entry for shard in self._shards for entry in shard.layout.tensors]
        metadata = {key: value for shard in self._shards for key, value in shard.layout.metadata.items()}
        try:
            self.header, self.layout = build([(entry.name, entry.dtype, entry.shape) for entry in entries], metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def stretches(self) -> Iterator[Stretch]:
        """Yield where the bytes of the buffer are, in order."""
        return chain.from_iterable(shard.stretches() for shard in self._shards)

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffers of all shards, or these ranges, in pieces; a shard without any is not opened.

        Raises: OSError. CheckpointError if a file has changed.
        """
        return pieces_of_all(self._shards, ranges)

    def _read_index(self, path: Path) -> dict[str, str]:
        try:
            file_of = json.loads(path.read_bytes())["weight_map"]
            files = set(file_of.values())
            names = {Path(name).name for name in files}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            known = _known(path)
            raise self._error(known or "has no `weight_map` of tensors to files") from error
        if names != files or not file_of:
            raise self._error("`weight_map` must name files of the same folder")
        return dict(file_of)

    def _check_complete(self, file_of: Mapping[str, str]) -> None:
        """Refuse shards that do not contain what the index lists, each tensor once."""
        shards = [(shard.path.rpartition("/")[2], shard.layout) for shard in self._shards]
        actual = {entry.name: name for name, layout in shards for entry in layout.tensors}
        count = sum(len(shard.layout.tensors) for shard in self._shards)
        if count > len(actual):
            raise self._error("a tensor is in two of its files")
        misplaced = [name for name in actual.keys() | file_of.keys() if actual.get(name) != file_of.get(name)]
        if misplaced:
            name = min(misplaced)
            file = actual.get(name, "none of the files")
            raise self._error(f"says that tensor {name!r} is in {file_of.get(name, 'no file')}; it is in {file}")

    def _error(self, description: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {description}", reason=Reason.INVALID_HEADER)


def _known(path: Path) -> str | None:
    """Return what a file is that is no index, if it is another format than JSON."""
    beginning = path.read_bytes()[:READ_BYTES]
    return None if beginning.lstrip().startswith(b"{") else description_of(beginning)
