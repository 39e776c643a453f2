"""A tensor cut into views in C order, each small enough that what is made beside it stays in the cache.

And whether it can be changed entry by entry at all. Knows shapes and strides only, no library.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from types import EllipsisType
from typing import Final, TypeAlias

CUT_BYTES: Final = 4 * 1024 * 1024
"""Of a tensor in one cut. Smaller ones leave a library's threads idle, larger ones the cache."""

Index: TypeAlias = tuple[int | slice | EllipsisType, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Entries that follow each other in C order: `tensor[index]` is a view of them, `first` the first one's flat index.

    In a mask of one bit an entry they stand in `packed`, after `spare` bits that belong to the cut before.
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
        """Bits at the beginning of these bytes that are not the entries'."""
        return self.first % 8


def cuts(shape: Sequence[int], most: int) -> Iterator[Block]:
    """Give the cuts of a tensor, none of more than `most` entries."""
    yield from _cuts(tuple(shape), most, (), 0)


def has_no_overlap(shape: Sequence[int], strides: Sequence[int], width: int) -> bool:
    """Whether each entry has memory of its own; False also for some rare layouts that only seem to overlap.

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


def _cuts(shape: tuple[int, ...], most: int, index: Index, first: int) -> Iterator[Block]:
    entries = prod(shape)
    if entries <= most:
        yield Block((*index, ...), first, entries)
        return
    row = entries // shape[0]
    if row > most:
        for position in range(shape[0]):
            yield from _cuts(shape[1:], most, (*index, position), first + position * row)
        return
    rows = most // row
    for begin in range(0, shape[0], rows):
        end = min(begin + rows, shape[0])
        yield Block((*index, slice(begin, end), ...), first + begin * row, (end - begin) * row)
