"""How many entries of a tensor are zero, counted on its bytes alone; no numpy.

A piece of bytes is read as one large integer, whose lanes are the entries. In each lane, adding 0x7f..f to what stands
below the top bit carries into that bit exactly if something was set; so a few operations on large integers find all
lanes that are not zero.

Source: Warren, Hacker's Delight, 2nd edition 2012, section 6-1 (find first zero byte), with lanes of any width.
"""

from functools import lru_cache
from typing import Final

_PIECE_BYTES: Final = 48 * 1024  # stays in the cache; whole lanes of every width

_SIGNED: Final = {
    "F64": (64, 1 << 63),
    "F32": (32, 1 << 31),
    "F16": (16, 1 << 15),
    "BF16": (16, 1 << 15),
    "F8_E4M3": (8, 1 << 7),
    "F8_E5M2": (8, 1 << 7),
    "F4": (4, 1 << 3),
    "C64": (64, 1 << 63 | 1 << 31),
}
"""Lane width and sign bits of dtypes whose -0.0 is a zero too; a complex entry is zero if both its parts are."""

_UNSIGNED: Final = {
    "BITS": 1,  # no dtype of the format: a mask packed into bits
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16"), 16),
    **dict.fromkeys(("U32", "I32"), 32),
    **dict.fromkeys(("U64", "I64"), 64),
}
"""Lane width of dtypes whose only zero has no bit set."""


def count_zeros(dtype: str, data: memoryview) -> int | None:
    """Count the entries that are zero, -0.0 included; None for dtypes without a zero, or of 6 bits."""
    if dtype in _SIGNED:
        width, signs = _SIGNED[dtype]
    elif dtype in _UNSIGNED:
        width, signs = _UNSIGNED[dtype], 0
    else:
        return None
    pieces = (data[begin : begin + _PIECE_BYTES] for begin in range(0, len(data), _PIECE_BYTES))
    return len(data) * 8 // width - sum(_count_nonzeros(piece, width, signs) for piece in pieces)


def _count_nonzeros(piece: memoryview, width: int, signs: int) -> int:
    magnitudes, rest, tops = _masks(len(piece), width, signs)
    lanes = int.from_bytes(piece, "little") & magnitudes
    return ((((lanes & rest) + rest) | lanes) & tops).bit_count()


@lru_cache(maxsize=64)  # last pieces have many sizes
def _masks(size: int, width: int, signs: int) -> tuple[int, int, int]:
    """Give, for every lane: all bits but the signs; all bits but the top one; the top bit."""
    ones = int.from_bytes(b"\xff" * size, "little")
    lowest = ones // ((1 << width) - 1)  # bit 0 of every lane
    top = 1 << (width - 1)
    return ones ^ lowest * signs, lowest * (top - 1), lowest * top
