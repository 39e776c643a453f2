"""A diffusers pipeline as one source: the tensors of all its components, each named after its component.

`unet.conv_in.weight` is the tensor `conv_in.weight` of the component in the folder `unet`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.file import Source, pieces_of_all
from pruning_client.checkpoints.stretches import Stretch, stretches_of
from pruning_client.checkpoints.weight_files import weights_in
from pruning_client.errors import CheckpointError, layout_error
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError, build

PIPELINE: Final = "model_index.json"

_OTHER_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx", ".gguf")


@dataclass(frozen=True, slots=True)
class Component:
    """A model in a folder of its own: a component of a pipeline, or a model that is not part of one.

    `weights` is its file, or the index of several; `name` is empty for a model that is not part of a pipeline.
    """

    name: str
    weights: Path

    @property
    def prefix(self) -> str:
        """What the names of its tensors begin with."""
        return self.name and f"{self.name}."


def is_pipeline(path: str | PathLike[str]) -> bool:
    """Whether a path has the name of the file that lists a pipeline's components."""
    return Path(path).name == PIPELINE


def components_of(weights: Path) -> tuple[Component, ...]:
    """Return the components with weights that a pipeline lists, in its order; of another path, the one model.

    Raises: OSError. CheckpointError if the list is invalid, or the weights of a component cannot be read.
    """
    if not is_pipeline(weights):
        return (Component("", weights),)
    found = tuple(component for name in _listed(weights) if (component := _component(weights, name)))
    if not found:
        raise _error(
            weights, "lists no component with weights in safetensors; save the pipeline with safetensors first"
        )
    return found


def _listed(path: Path) -> list[str]:
    """Return the names of a pipeline's components; those that it is used without are null."""
    try:
        members = json.loads(path.read_bytes()).items()
    except (ValueError, AttributeError) as error:
        raise _error(path, "is not a JSON object, which lists the components of a pipeline") from error
    return [name for name, value in members if isinstance(value, list) and any(value) and Path(name).name == name]


def _component(pipeline: Path, name: str) -> Component | None:
    folder = pipeline.with_name(name)
    if not folder.is_dir():
        return None
    weights = weights_in(folder)
    if weights is not None:
        return Component(name, weights)
    other = sorted(path.name for path in folder.iterdir() if path.suffix in _OTHER_WEIGHTS)
    if other:
        description = (
            f"component {name!r} has its weights in {other[0]}, which is not read; save it with safetensors first"
        )
        raise _error(pipeline, description)
    return None


class PipelineSource:
    """The tensors of all components of a pipeline, one after the other, like those of one file.

    Raises: CheckpointError if their names do not differ.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, path: str | PathLike[str], parts: Sequence[tuple[Component, Source]]) -> None:
        self.path = fspath(path)
        self._sources = [source for _, source in parts]
        entries = [
            (component.prefix + entry.name, entry.dtype, entry.shape)
            for component, source in parts
            for entry in source.layout.tensors
        ]
        metadata = {key: value for source in self._sources for key, value in source.layout.metadata.items()}
        try:
            self.header, self.layout = build(entries, metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def stretches(self) -> Iterator[Stretch]:
        """Yield where the bytes of the buffer are, in order."""
        return chain.from_iterable(stretches_of(source) for source in self._sources)

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffers of all components, or these ranges, in pieces.

        Raises: OSError. CheckpointError if a file has changed.
        """
        return pieces_of_all(self._sources, ranges)


def _error(path: Path, description: str) -> CheckpointError:
    return CheckpointError(f"{path}: {description}", reason=Reason.INVALID_HEADER)
