"""The tensors of a safetensors file, and how many of their entries are zero. Needs no server and no numpy."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from os import PathLike
from typing import Any

from pruning_client.checkpoints.compressed import framed_tensors, is_compressed, prefixes
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import contents_of, is_packed
from pruning_client.models.lanes import BITS, count_zeros, has_zero
from pruning_proto.names import MASK_BITS
from pruning_proto.packed.format import Stored
from pruning_proto.packed.frames import Framed
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import TensorEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorZeros:
    """One tensor of a file. `zeros` is None if its dtype has no zero to count.

    For a mask in bits (`w:mask_bits`) the entries are its bits, including up to 7 spare ones at the end. For a packed
    tensor all fields describe the dense one: its name, dtype, shape, entries and zeros.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    entries: int
    zeros: int | None
    packed: bool = False

    @property
    def sparsity(self) -> float | None:
        """The fraction of the entries that are zero, 0.0 to 1.0; 0.0 for an empty tensor."""
        if self.zeros is None:
            return None
        return self.zeros / self.entries if self.entries else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self) | {"sparsity": self.sparsity}


def inspect_file(path: str | PathLike[str]) -> Iterator[TensorZeros]:
    """Count the zeros of each tensor of a file, in the order of their bytes. Needs no numpy, not even for packed files.

    Raises: OSError if it cannot be read. CheckpointError if it is not a valid safetensors file.
    """
    source = FileSource(path)
    if is_compressed(source.layout):
        yield from (_count_framed(tensor, source) for tensor in framed_tensors(source))
        return
    for content in contents_of(source.layout, source.path) if is_packed(source.layout) else source.layout.tensors:
        if isinstance(content, Stored):
            yield _count_packed(content, _count(content.values, source.read(content.values.begin, content.values.end)))
        else:
            yield _count(content, source.read(content.begin, content.end))


def _count_framed(tensor: Framed, source: FileSource) -> TensorZeros:
    """Return the zeros that the prefixes of the frames count; nothing is decompressed."""
    in_one = max(1, 8 // DTYPE_BITS[tensor.dtype])  # entries in what a mask leaves out: a byte may have two
    zeros = sum(prefix.zeros + in_one * (piece.entries - prefix.stored) for piece, prefix in prefixes(source, tensor))
    entries = prod(tensor.shape)
    return TensorZeros(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        entries=entries,
        zeros=zeros if has_zero(tensor.dtype) or not entries else None,
        packed=True,
    )


def _count_packed(stored: Stored, values: TensorZeros) -> TensorZeros:
    """Return the zeros that packing left out, and those among the stored values: -0.0."""
    tensor = stored.tensor
    zeros = None if values.zeros is None else tensor.entries - stored.nnz + values.zeros
    return TensorZeros(
        name=tensor.name, dtype=tensor.dtype, shape=tensor.shape, entries=tensor.entries, zeros=zeros, packed=True
    )


def _count(tensor: TensorEntry, pieces: Iterator[memoryview]) -> TensorZeros:
    entries, dtype = prod(tensor.shape), tensor.dtype
    if tensor.name.endswith(MASK_BITS) and dtype == "U8":
        entries, dtype = 8 * entries, BITS
    counts = [count_zeros(dtype, piece) for piece in pieces]
    zeros = None if None in counts else sum(count for count in counts if count is not None)
    return TensorZeros(name=tensor.name, dtype=dtype, shape=tensor.shape, entries=entries, zeros=zeros)
