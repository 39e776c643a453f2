"""The tensors of a model by name, in one file or several, packed or not, each to be read by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

from pruning_client.checkpoints.compressed import CompressedSource, framed_tensors, is_compressed
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import PackedSource, contents_of, is_packed
from pruning_client.errors import CheckpointError
from pruning_client.models.model_files import model_files
from pruning_proto.packed.format import Stored, spec_of
from pruning_proto.packed.frames import Framed
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import TensorEntry


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """A tensor that can be read. `content` is where it is stored in `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: FileSource
    content: Stored | Framed | TensorEntry

    @property
    def entries(self) -> int:
        """The number of its entries."""
        return prod(self.shape)

    def pieces(self) -> Iterator[memoryview]:
        """Return its bytes, unpacked, in pieces, all in the same memory.

        Raises: OSError. CheckpointError if the file changed, or is damaged. ImportError for a packed one without numpy.
        """
        if isinstance(self.content, Framed):
            return CompressedSource(self.file).pieces_of(self.content)
        if isinstance(self.content, Stored):
            return PackedSource(self.file).pieces_of(self.content)
        return self.file.read(self.content.begin, self.content.end)

    def stored(self) -> tuple[int, Iterator[memoryview]]:
        """Return the zeros that packing left out, and the bytes of all other entries, without unpacking.

        Raises: as `pieces`.
        """
        if isinstance(self.content, Stored):
            values = self.content.values
            return self.entries - self.content.nnz, self.file.read(values.begin, values.end)
        return 0, self.pieces()


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """A model: its tensors in the order of its files, the metadata of all files, and their bytes."""

    tensors: Mapping[str, ModelTensor]
    metadata: Mapping[str, str]
    bytes: int


def open_model(path: str | PathLike[str]) -> ModelTensors:
    """Return the tensors of a file, of the shards of an index, or of the weights in the folder of a model or pipeline.

    Those of a pipeline are named COMPONENT.NAME. Headers are read, and no tensors.
    Raises: OSError. CheckpointError.
    """
    tensors: dict[str, ModelTensor] = {}
    metadata: dict[str, Any] = {}
    size = 0
    for prefix, name in model_files(Path(path)):
        file = FileSource(name)
        for tensor in _tensors_of(prefix, file):
            if tensors.setdefault(tensor.name, tensor) is not tensor:
                raise CheckpointError(f"{path}: tensor {tensor.name!r} is in it twice", reason=Reason.INVALID_HEADER)
        metadata |= file.layout.metadata
        size += file.layout.total_bytes
    return ModelTensors(tensors, metadata, size)


def _tensors_of(prefix: str, file: FileSource) -> Iterator[ModelTensor]:
    if is_compressed(file.layout):
        for tensor in framed_tensors(file):
            yield ModelTensor(prefix + tensor.name, tensor.dtype, tensor.shape, file, tensor)
        return
    for content in contents_of(file.layout, file.path) if is_packed(file.layout) else file.layout.tensors:
        name, dtype, shape = spec_of(content)
        yield ModelTensor(prefix + name, dtype, shape, file, content)
