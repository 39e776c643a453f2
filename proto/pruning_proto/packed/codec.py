"""The bytes of packed tensors, piece by piece, with numpy. Imported only where files are packed or unpacked.

numpy releases the interpreter's lock inside these calls, so that several threads can work on pieces. Entries are
read as unsigned integers of their bits: an entry is nonzero if any bit is set, and numpy need not know the dtype.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pruning_proto.packed.format import Packable, Piece
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import DTYPE_BITS, NEGATIVE_ZERO
from pruning_proto.safetensors.header import LayoutError

Array: TypeAlias = NDArray[Any]
Bytes: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed piece: its nonzero entries, the bytes of its mask, and the nonzero entries of each row."""

    values: Array
    bits: NDArray[np.uint8]
    row_counts: NDArray[np.int64]


def count_nonzero(data: Bytes, tensor: Packable) -> int:
    """Count the entries of a piece that have any bit set."""
    return int(np.count_nonzero(_entries(data, tensor)))


def count_negative_zeros(data: Bytes, dtype: str) -> int:
    """Count the -0.0 among numbers of whole bytes; each part of a complex number counts."""
    if dtype not in NEGATIVE_ZERO or DTYPE_BITS[dtype] % 8:
        return 0
    numbers, zero = _numbers(data, dtype)
    return int(np.count_nonzero(numbers == zero))


def without_negative_zeros(data: Bytes, dtype: str) -> NDArray[np.uint8]:
    """Return a copy of numbers of a dtype with +0.0 for each -0.0."""
    numbers, zero = _numbers(data, dtype)
    canonical = numbers.copy()
    canonical[canonical == zero] = 0
    return canonical.view(np.uint8)


def pack(data: Bytes, tensor: Packable, piece: Piece, values: Array | None = None) -> Packed:
    """Pack a piece; its values go to `values`, which is just so long, or to memory of their own."""
    entries = _entries(data, tensor)
    flags = entries != 0
    bits = _bits(flags, piece.rows)
    nonzero = np.take(entries, np.flatnonzero(flags), out=values, mode="clip")  # with "raise", `out` would be buffered
    return Packed(nonzero, bits, count_ones(bits, piece.rows))


def unpack(values: Bytes, bits: Bytes, tensor: Packable, piece: Piece) -> NDArray[np.uint8]:
    """Return the bytes of a piece, from its values and its part of the mask.

    Raises: LayoutError if the mask marks what lies beyond the end of a row.
    """
    flags = _flags(np.frombuffer(bits, np.uint8), piece)
    places = np.flatnonzero(flags)
    entries = np.zeros(piece.end - piece.begin, f"u{tensor.width}")
    if len(places) * tensor.width != len(values):
        raise LayoutError(
            Reason.INVALID_PACKED,
            f"{tensor.bits_name!r} marks entries beyond the end of a row; the packed file is damaged",
            tensor.bits_name,
        )
    entries[places] = np.frombuffer(values, entries.dtype)
    return entries.view(np.uint8)


def count_ones(bits: Bytes, rows: int) -> NDArray[np.int64]:
    """Count the ones in each row of a part of a mask."""
    whole = np.frombuffer(bits, np.uint8).reshape(rows, -1)
    ones: NDArray[np.int64] = np.bitwise_count(whole).sum(axis=1, dtype=np.int64)
    return ones


def row_offsets(row_counts: Sequence[NDArray[np.int64]], tensor: Packable) -> NDArray[np.int64]:
    """Return where the values of each row begin, from the counts of all pieces in order."""
    counts = np.concatenate(row_counts).reshape(tensor.rows, -1).sum(axis=1)  # a long row has several pieces
    offsets: NDArray[np.int64] = np.cumsum(counts) - counts
    return offsets


def as_bytes(array: Array) -> memoryview:
    """View a contiguous array as its bytes."""
    return array.view(np.uint8).data


def _numbers(data: Bytes, dtype: str) -> tuple[Array, np.unsignedinteger[Any]]:
    """Return the numbers of a dtype as integers of their bits, and -0.0 as one of them."""
    bits, zero = NEGATIVE_ZERO[dtype]
    integer = np.dtype(f"u{bits // 8}")
    return _view(data, integer), integer.type(zero)


def _entries(data: Bytes, tensor: Packable) -> Array:
    return _view(data, np.dtype(f"u{tensor.width}"))


def _view(data: Bytes, dtype: np.dtype[Any]) -> Array:
    return np.frombuffer(data, dtype)


def _bits(flags: NDArray[np.bool_], rows: int) -> NDArray[np.uint8]:
    columns = len(flags) // rows
    if columns % 8 == 0:
        return np.packbits(flags, bitorder="little")
    return np.packbits(flags.reshape(rows, columns), axis=1, bitorder="little").reshape(-1)


def _flags(bits: NDArray[np.uint8], piece: Piece) -> NDArray[np.bool_]:
    entries = piece.end - piece.begin
    columns = entries // piece.rows
    if piece.rows == 1 or columns % 8 == 0:
        return np.unpackbits(bits, count=entries, bitorder="little").view(np.bool_)
    flags = np.unpackbits(bits.reshape(piece.rows, -1), axis=1, count=columns, bitorder="little")
    return flags.reshape(-1).view(np.bool_)
