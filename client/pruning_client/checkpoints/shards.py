"""A checkpoint in several safetensors files, as Hugging Face's index names them, as one source."""

import json
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import CheckpointError, layout_error
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError, build

INDEX: Final = "model.safetensors.index.json"
_SUFFIX: Final = ".safetensors.index.json"


def is_index(path: str | PathLike[str]) -> bool:
    """Whether a path is called as an index of several safetensors files is."""
    return fspath(path).endswith(_SUFFIX)


class ShardsSource:
    """The tensors of all shards that an index names, one shard after the other, as of one file.

    Raises: OSError if a file cannot be read. CheckpointError if the index is none, a shard is not sound, or they do not
    hold the tensors that the index says.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = fspath(path)
        where = self._read_index(Path(path))
        self._shards = [FileSource(Path(path).parent / name) for name in sorted(set(where.values()))]
        self._check_whole(where)
        tensors = [(each.name, each.dtype, each.shape) for shard in self._shards for each in shard.layout.tensors]
        metadata = {key: value for shard in self._shards for key, value in shard.layout.metadata.items()}
        try:
            self.header, self.layout = build(tensors, metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def pieces(self) -> Iterator[memoryview]:
        """Give the buffers of all shards in pieces. Raises: OSError. CheckpointError if a file has changed."""
        for shard in self._shards:
            yield from shard.pieces()

    def _read_index(self, path: Path) -> dict[str, str]:
        try:
            where = json.loads(path.read_bytes())["weight_map"]
            names = {Path(name).name for name in where.values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._error("has no `weight_map` of tensors to files") from error
        if names != set(where.values()) or not where:
            raise self._error("`weight_map` must name files of the same folder")
        return dict(where)

    def _check_whole(self, where: Mapping[str, str]) -> None:
        """Refuse shards that do not hold what the index says, each tensor once."""
        found = {each.name: Path(shard.path).name for shard in self._shards for each in shard.layout.tensors}
        count = sum(len(shard.layout.tensors) for shard in self._shards)
        if count > len(found):
            raise self._error("a tensor is in two of its files")
        wrong = sorted(name for name in found.keys() | where.keys() if found.get(name) != where.get(name))
        if wrong:
            name = wrong[0]
            place = found.get(name, "none of the files")
            raise self._error(f"says that tensor {name!r} is in {where.get(name, 'no file')}; it is in {place}")

    def _error(self, wrong: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {wrong}", reason=Reason.INVALID_HEADER)
