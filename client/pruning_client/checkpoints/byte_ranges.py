"""Ranges of the bytes of a buffer: those that are read where others are left out."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

ByteRange: TypeAlias = tuple[int, int]
"""The first byte, and the first one after the last."""

ByteRanges: TypeAlias = Sequence[ByteRange]
"""Ranges that ascend and do not overlap."""


def other_ranges(ranges: ByteRanges, size: int) -> list[ByteRange]:
    """Return the ranges of a buffer of `size` bytes that are between these."""
    others, at = [], 0
    for begin, end in (*ranges, (size, size)):
        if begin > at:
            others.append((at, begin))
        at = end
    return others


def ranges_within(ranges: ByteRanges, begin: int, end: int) -> list[ByteRange]:
    """Return what lies of these ranges in [begin, end), counted from `begin`."""
    at = max(bisect_right(ranges, (begin, begin)) - 1, 0)
    found = []
    for range_begin, range_end in (ranges[position] for position in range(at, len(ranges))):
        if range_begin >= end:
            break
        if range_end > begin and range_end > range_begin:
            found.append((max(range_begin, begin) - begin, min(range_end, end) - begin))
    return found


def parts_within(pieces: Iterable[memoryview], ranges: ByteRanges) -> Iterator[memoryview]:
    """Return what lies in these ranges of the pieces of a buffer."""
    position = 0
    for piece in pieces:
        for begin, end in ranges_within(ranges, position, position + len(piece)):
            yield piece[begin:end]
        position += len(piece)
