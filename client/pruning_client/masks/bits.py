"""A mask of one bit per entry applied to the bytes of entries, without numpy: a client-only install has none.

A piece of bytes is read as one large integer, and so is its mask with every bit spread to the width of an entry: one
operation on the two, and what is not kept is +0.0.
"""

from functools import lru_cache
from typing import Final

from pruning_proto.spans import spans

_PIECE_BYTES: Final = 1024
"""Of a mask, at a time: the entries that belong to it stay in the cache for every width."""


def keep_marked(data: memoryview, bits: memoryview, width: int) -> bytes:
    """Return entries of `width` bytes, unchanged where their bit is 1, else zeros; bits in little order."""
    return b"".join(
        _keep(data[begin:end], bits[begin // (8 * width) :][:_PIECE_BYTES], width)
        for begin, end in spans(len(data), 8 * width * _PIECE_BYTES)
    )


def kept(bits: memoryview, entries: int) -> int:
    """Return how many of `entries` a mask keeps; bits after the last entry's are ignored."""
    return (int.from_bytes(bits, "little") & (1 << entries) - 1).bit_count()


def _keep(piece: memoryview, bits: memoryview, width: int) -> bytes:
    spread = b"".join(map(_table(width).__getitem__, bits))
    rest = int.from_bytes(piece, "little") & int.from_bytes(spread[: len(piece)], "little")
    return rest.to_bytes(len(piece), "little")


@lru_cache
def _table(width: int) -> tuple[bytes, ...]:
    """Return for each value of a byte of bits its 8 masks: bytes of ones where a bit is 1."""
    marks = (bytes(width), b"\xff" * width)
    return tuple(b"".join(marks[value >> bit & 1] for bit in range(8)) for value in range(256))
