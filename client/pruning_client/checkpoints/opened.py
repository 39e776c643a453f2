"""The source behind a path: a safetensors file, the shards that an index names, or a pipeline's components."""

from os import PathLike
from pathlib import Path

from pruning_client.checkpoints.file import FileSource, Source
from pruning_client.checkpoints.packed import PackedSource, is_packed
from pruning_client.checkpoints.pipeline import PipelineSource, components_of, is_pipeline
from pruning_client.checkpoints.shards import ShardsSource, is_index


def open_source(path: str | PathLike[str]) -> Source:
    """Return what a path names; a packed file unpacked, because rules are about its contents.

    Raises: OSError. CheckpointError.
    """
    if is_pipeline(path):
        return PipelineSource(path, [(each, open_source(each.weights)) for each in components_of(Path(path))])
    if is_index(path):
        return ShardsSource(path)
    file = FileSource(path)
    file.check_not_sharded()
    return PackedSource(file) if is_packed(file.layout) else file
