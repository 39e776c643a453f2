"""The safetensors files that a path names: one file, shards, or the weights in the folder of a model or pipeline."""

import errno
from collections.abc import Iterator
from pathlib import Path

from pruning_client.checkpoints.pipeline import PIPELINE, components_of
from pruning_client.checkpoints.shards import ShardsSource, is_index, read_index
from pruning_client.checkpoints.weight_files import weights_in
from pruning_client.errors import CheckpointError
from pruning_proto.reasons import Reason


def model_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Return each file with what the names of its tensors begin with. Raises: OSError. CheckpointError."""
    for component in components_of(_weights(path) if path.is_dir() else path):
        if is_index(component.weights):
            ShardsSource(component.weights)  # refuses shards that are not complete
            file_of, _ = read_index(component.weights)
            yield from ((component.prefix, component.weights.with_name(name)) for name in sorted(set(file_of.values())))
        else:
            yield component.prefix, component.weights


def _weights(folder: Path) -> Path:
    if (folder / PIPELINE).is_file():
        return folder / PIPELINE
    found = weights_in(folder)
    if found is not None:
        return found
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if not files:
        description = "is a folder, not a regular file, and no safetensors file is in it"
        raise IsADirectoryError(errno.EISDIR, description, str(folder))
    names = ", ".join(file.name for file in files)
    raise CheckpointError(f"{folder}: has several safetensors files, {names}; name one", reason=Reason.INVALID_HEADER)
