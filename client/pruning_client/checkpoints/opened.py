"""The source behind a path: a safetensors file, the shards that an index names, or a pipeline's components."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from pruning_client.checkpoints.compressed import unpacked_source
from pruning_client.checkpoints.file import FileSource, Source
from pruning_client.checkpoints.packed import is_packed
from pruning_client.checkpoints.pipeline import PipelineSource, components_of, is_pipeline
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.checkpoints.shards import ShardsSource, is_index


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint by its path, the bytes of whose files `files` has: the disk, unless they are elsewhere."""

    path: Path
    files: Files = DISK

    def open(self) -> Source:
        """Return its source. Raises: as `open_source`."""
        return open_source(self.path, self.files)


def open_source(path: str | PathLike[str], files: Files = DISK) -> Source:
    """Return what a path names; a packed file unpacked, because rules are about its contents.

    `files` has the bytes of weights; what lists them is on the disk.
    Raises: OSError. CheckpointError.
    """
    if is_pipeline(path):
        return PipelineSource(path, [(each, open_source(each.weights, files)) for each in components_of(Path(path))])
    if is_index(path):
        return ShardsSource(path, files)
    file = FileSource(path, files)
    file.check_not_sharded()
    return unpacked_source(file) if is_packed(file.layout) else file
