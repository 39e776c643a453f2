"""The tensors of a call where they came from: a file can be read again, without being copied."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from pruning_service.streams.skipped_ranges import ByteRange, Remaining

ReadAgain: TypeAlias = Callable[[Sequence[ByteRange]], Iterable[memoryview]]
"""Reads ranges of what follows a file's header once more, in pieces; each may reuse the memory of the one before."""


class SourceStore:
    """A `TensorStore` that keeps nothing. `skipped`: ranges of the file that do not count, ascending, not adjacent."""

    is_filled = True

    def __init__(self, read: ReadAgain, skipped: Sequence[ByteRange]) -> None:
        self._read = read
        self._remaining = Remaining(skipped)

    def append(self, tensor: memoryview) -> None:
        """Do nothing: it is in the file."""

    def read_into(self, tensor: memoryview, begin: int) -> None:
        """Fill a tensor with the bytes from `begin` on. Raises: what the reader raises."""
        self.read_ranges(tensor, [(begin, begin + len(tensor))])

    def read_ranges(self, data: memoryview, ranges: Sequence[ByteRange]) -> None:
        """Fill `data` with the bytes of ranges, one after the other. Raises: what the reader raises."""
        filled = 0
        for piece in self._read([each for begin, end in ranges for each in self._remaining.ranges(begin, end)]):
            data[filled : filled + len(piece)] = piece
            filled += len(piece)
