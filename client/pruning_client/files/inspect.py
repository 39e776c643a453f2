"""The tensors of a safetensors file, and how many of their entries are zero. Needs no server and no numpy.

Zeros are counted on a tensor's bytes alone. A piece of bytes is read as one large integer, whose lanes are the entries.
In each lane, adding 0x7f..f to the bits below the top one carries into the top bit exactly if one of them was set; so a
few operations on large integers find all lanes that are not zero.

Source: Warren, Hacker's Delight, 2nd edition 2012, section 6-1 (find first zero byte), with lanes of any width.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import prod
from os import PathLike
from typing import Any, Final

from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import contents_of, is_packed
from pruning_proto.names import MASK_BITS
from pruning_proto.packed.format import Stored
from pruning_proto.safetensors.dtypes import DTYPE_BITS, NEGATIVE_ZERO, WITHOUT_ZERO
from pruning_proto.safetensors.header import TensorEntry
from pruning_proto.spans import spans

_PIECE_BYTES: Final = 48 * 1024  # stays in the cache; whole lanes of every width

_BITS: Final = "BITS"
"""In place of a dtype, for a mask of one bit per entry."""


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
    for content in contents_of(source.layout, source.path) if is_packed(source.layout) else source.layout.tensors:
        if isinstance(content, Stored):
            yield _count_packed(content, _count(content.values, source.read(content.values.begin, content.values.end)))
        else:
            yield _count(content, source.read(content.begin, content.end))


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
        entries, dtype = 8 * entries, _BITS
    counts = [count_zeros(dtype, piece) for piece in pieces]
    zeros = None if None in counts else sum(count for count in counts if count is not None)
    return TensorZeros(name=tensor.name, dtype=dtype, shape=tensor.shape, entries=entries, zeros=zeros)


def count_zeros(dtype: str, data: memoryview) -> int | None:
    """Count the entries that are zero, -0.0 included; None for dtypes without a zero, or of 6 bits."""
    width = 1 if dtype == _BITS else DTYPE_BITS[dtype]
    if dtype == WITHOUT_ZERO or width == 6:
        return None
    signs = _signs(dtype, width)
    pieces = (data[begin:end] for begin, end in spans(len(data), _PIECE_BYTES))
    return len(data) * 8 // width - sum(_count_nonzeros(piece, width, signs) for piece in pieces)


def _signs(dtype: str, width: int) -> int:
    """Return the sign bits of an entry, which -0.0 may have set; a complex entry is zero if both its parts are."""
    if dtype not in NEGATIVE_ZERO:
        return 0
    bits, sign = NEGATIVE_ZERO[dtype]
    return sum(sign << begin for begin, _ in spans(width, bits))


def _count_nonzeros(piece: memoryview, width: int, signs: int) -> int:
    magnitudes, rest, tops = _masks(len(piece), width, signs)
    lanes = int.from_bytes(piece, "little") & magnitudes
    return ((((lanes & rest) + rest) | lanes) & tops).bit_count()


@lru_cache(maxsize=64)  # last pieces have many sizes
def _masks(size: int, width: int, signs: int) -> tuple[int, int, int]:
    """Return, for every lane: all bits but the signs; all bits but the top one; the top bit."""
    ones = int.from_bytes(b"\xff" * size, "little")
    lowest = ones // ((1 << width) - 1)  # bit 0 of every lane
    top = 1 << (width - 1)
    return ones ^ lowest * signs, lowest * (top - 1), lowest * top
