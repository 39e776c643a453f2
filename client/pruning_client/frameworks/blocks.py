"""A tensor divided into blocks in C order, each small enough that temporary arrays of its size stay in the cache.

Also checks whether a tensor can be changed entry by entry. Knows shapes and strides only, no tensor library.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from types import EllipsisType
from typing import Final, TypeAlias

BLOCK_BYTES: Final = 4 * 1024 * 1024
"""The size of a block. Smaller ones leave a library's threads idle, larger ones do not fit the cache."""

Index: TypeAlias = tuple[int | slice | EllipsisType, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive entries in C order: `tensor[index]` is a view of them, `first` is the flat index of the first one.

    In a mask of one bit per entry they are in `packed`, after `spare` bits that belong to the block before.
    """

    index: Index
    first: int
    entries: int

    @property
    def packed(self) -> slice:
        """The bytes of a packed mask that hold the entries."""
        return slice(self.first // 8, (self.first + self.entries + 7) // 8)

    @property
    def spare(self) -> int:
        """Bits at the beginning of these bytes that belong to other entries."""
        return self.first % 8


def blocks(shape: Sequence[int], most: int) -> Iterator[Block]:
    """Return the blocks of a tensor, none of more than `most` entries."""
    yield from _blocks(tuple(shape), most, (), 0)


def has_no_overlap(shape: Sequence[int], strides: Sequence[int], width: int) -> bool:
    """Whether each entry has memory of its own; also False for some rare layouts that do not overlap.

    Units: `strides` and the `width` of an entry in the same one.
    """
    if 0 in shape:
        return True
    reach = width - 1
    for stride, size in sorted((abs(stride), size) for stride, size in zip(strides, shape, strict=True) if size > 1):
        if stride <= reach:
            return False
        reach += stride * (size - 1)
    return True


def _blocks(shape: tuple[int, ...], most: int, index: Index, first: int) -> Iterator[Block]:
    entries = prod(shape)
    if entries <= most:
        yield Block((*index, ...), first, entries)
        return
    row = entries // shape[0]
    if row > most:
        for position in range(shape[0]):
            yield from _blocks(shape[1:], most, (*index, position), first + position * row)
        return
    rows = most // row
    for begin in range(0, shape[0], rows):
        end = min(begin + rows, shape[0])
        yield Block((*index, slice(begin, end), ...), first + begin * row, (end - begin) * row)
