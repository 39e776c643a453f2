"""A mask of one bit an entry put on the bytes of entries; no numpy, so that a client-only install can.

A piece of bytes is read as one large integer, and so is its mask with every bit spread to the width of an entry: one
operation on the two, and what is not kept is +0.0.
"""

from functools import lru_cache
from typing import Final

_PIECE_BITS: Final = 1024  # bytes of mask at a time: stays in the cache for every width


def keep_marked(data: memoryview, bits: memoryview, width: int) -> bytes:
    """Give entries of `width` bytes, as they are where their bit is 1, else of zeros; bits in little order."""
    step = 8 * width * _PIECE_BITS
    return b"".join(
        _keep(data[begin : begin + step], bits[begin // (8 * width) :][:_PIECE_BITS], width)
        for begin in range(0, len(data), step)
    )


def kept(bits: memoryview, entries: int) -> int:
    """Give how many of so many entries a mask keeps; bits after the last entry's say nothing."""
    return (int.from_bytes(bits, "little") & (1 << entries) - 1).bit_count()


def _keep(piece: memoryview, bits: memoryview, width: int) -> bytes:
    spread = b"".join(map(_table(width).__getitem__, bits))
    rest = int.from_bytes(piece, "little") & int.from_bytes(spread[: len(piece)], "little")
    return rest.to_bytes(len(piece), "little")


@lru_cache
def _table(width: int) -> tuple[bytes, ...]:
    """Give for each value of a byte of bits its 8 masks: bytes of ones where a bit is 1."""
    marks = (bytes(width), b"\xff" * width)
    return tuple(b"".join(marks[value >> bit & 1] for bit in range(8)) for value in range(256))
