"""The tensors of a call where they came from: a file can be read again, without being copied."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

from pruning_service.streams.skipped_ranges import ByteRange

ReadAgain: TypeAlias = Callable[[Sequence[ByteRange]], Iterable[memoryview]]
"""Reads ranges of what follows a file's header once more, in pieces; each may reuse the memory of the one before."""


class SourceStore:
    """A `TensorStore` that keeps nothing. `skipped`: ranges of the file that do not count, ascending, not adjacent."""

    def __init__(self, read: ReadAgain, skipped: Sequence[ByteRange]) -> None:
        self._read = read
        ends = [0, *(end for _, end in skipped)]  # where each part that counts begins in the file
        lengths = [begin - end for end, (begin, _) in zip(ends, skipped, strict=False)]
        self._in_file = ends
        self._in_store = [sum(lengths[:index]) for index in range(len(ends))]

    def append(self, tensor: memoryview) -> None:
        """Do nothing: it is in the file."""

    def read_into(self, tensor: memoryview, begin: int) -> None:
        """Fill a tensor with the bytes from `begin` on. Raises: what the reader raises."""
        filled = 0
        for piece in self._read(self._ranges(begin, begin + len(tensor))):
            tensor[filled : filled + len(piece)] = piece
            filled += len(piece)

    def _ranges(self, begin: int, end: int) -> list[ByteRange]:
        """Return where bytes of the store are in the file."""
        first = bisect_right(self._in_store, begin) - 1
        bounds = [begin, *(at for at in self._in_store[first + 1 :] if at < end), end]
        return [
            (self._in_file[index] + part - self._in_store[index], self._in_file[index] + until - self._in_store[index])
            for index, (part, until) in enumerate(pairwise(bounds), first)
            if until > part
        ]
