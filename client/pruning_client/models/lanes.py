"""Entries of a tensor counted on its bytes alone: zeros, and what differs between two tensors. Needs no numpy.

A piece of bytes is read as one large integer, whose lanes are the entries. In each lane, adding 0x7f..f to the bits
below the top one carries into the top bit exactly if one of them was set; so a few operations on large integers find
all lanes that are not zero.

Source: Warren, Hacker's Delight, 2nd edition 2012, section 6-1 (find first zero byte), with lanes of any width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from typing import Final

from pruning_proto.safetensors.dtypes import DTYPE_BITS, NEGATIVE_ZERO, WITHOUT_ZERO
from pruning_proto.spans import spans

BITS: Final = "BITS"
"""In place of a dtype, for a mask of one bit per entry."""

_PIECE_BYTES: Final = 48 * 1024  # stays in the cache; whole lanes of every width


@dataclass(frozen=True, slots=True)
class Differences:
    """The zeros of two tensors, -0.0 included; how many entries differ in any bit, and are zero in one of the two only.

    `became_zero` are those that are zero in the second only.
    """

    zeros_before: int = 0
    zeros_after: int = 0
    changed: int = 0
    became_zero: int = 0

    @property
    def became_nonzero(self) -> int:
        """Those that are zero in the first only."""
        return self.zeros_before - self.zeros_after + self.became_zero

    def __add__(self, other: "Differences") -> "Differences":
        return Differences(
            self.zeros_before + other.zeros_before,
            self.zeros_after + other.zeros_after,
            self.changed + other.changed,
            self.became_zero + other.became_zero,
        )


def has_zero(dtype: str) -> bool:
    """Whether the zeros of a dtype can be counted: not of one without a zero, or of 6 bits."""
    return dtype == BITS or (dtype != WITHOUT_ZERO and DTYPE_BITS[dtype] != 6)


def count_zeros(dtype: str, data: memoryview) -> int | None:
    """Count the entries that are zero, -0.0 included; None for dtypes without a zero, or of 6 bits."""
    if not has_zero(dtype):
        return None
    width, signs = _lanes_of(dtype)
    return len(data) * 8 // width - sum(_nonzeros(piece, width, signs).bit_count() for (piece,) in _pieces(data))


def count_differences(dtype: str, before: memoryview, after: memoryview) -> Differences:
    """Count zeros, and what differs, in two tensors of one dtype, whose zeros can be counted, and of one size."""
    width, signs = _lanes_of(dtype)
    return reduce(add, (_differences(one, other, width, signs) for one, other in _pieces(before, after)), Differences())


def _pieces(*data: memoryview) -> Iterator[tuple[bytes, ...]]:
    for begin, end in spans(len(data[0]), _PIECE_BYTES):
        yield tuple(bytes(each[begin:end]) for each in data)


def _differences(before: bytes, after: bytes, width: int, signs: int) -> Differences:
    lanes = len(before) * 8 // width
    nonzeros = _nonzeros(before, width, signs)
    zeros = lanes - nonzeros.bit_count()
    if before == after:
        return Differences(zeros, zeros)
    nonzeros_after = _nonzeros(after, width, signs)
    bits = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    changed = _set_lanes(bits, len(before), width).bit_count()
    became_zero = (nonzeros ^ (nonzeros & nonzeros_after)).bit_count()
    return Differences(zeros, lanes - nonzeros_after.bit_count(), changed, became_zero)


def _nonzeros(piece: bytes, width: int, signs: int) -> int:
    """Return an integer with the top bit of each lane set that is not zero."""
    magnitudes = int.from_bytes(piece, "little")
    if signs:
        magnitudes &= _magnitudes(len(piece), width, signs)
    return _set_lanes(magnitudes, len(piece), width)


def _set_lanes(lanes: int, size: int, width: int) -> int:
    rest, tops = _masks(size, width)
    return (((lanes & rest) + rest) | lanes) & tops


def _lanes_of(dtype: str) -> tuple[int, int]:
    """Return the bits of an entry, and its sign bits, which -0.0 may have set.

    A complex entry is zero if both its parts are.
    """
    width = 1 if dtype == BITS else DTYPE_BITS[dtype]
    if dtype not in NEGATIVE_ZERO:
        return width, 0
    bits, sign = NEGATIVE_ZERO[dtype]
    return width, sum(sign << begin for begin, _ in spans(width, bits))


@lru_cache(maxsize=64)  # last pieces have many sizes
def _masks(size: int, width: int) -> tuple[int, int]:
    """Return, for every lane: all bits but the top one; the top bit."""
    lowest = _lowest(size, width)
    top = 1 << (width - 1)
    return lowest * (top - 1), lowest * top


@lru_cache(maxsize=64)
def _magnitudes(size: int, width: int, signs: int) -> int:
    """Return, for every lane, all bits but the signs."""
    return int.from_bytes(b"\xff" * size, "little") ^ _lowest(size, width) * signs


def _lowest(size: int, width: int) -> int:
    """Return bit 0 of every lane."""
    return int.from_bytes(b"\xff" * size, "little") // ((1 << width) - 1)
