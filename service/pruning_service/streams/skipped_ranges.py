"""Bytes of a file that nobody needs: taken out of the stream as it passes, and what remains, where it is."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

ByteRange = tuple[int, int]


class SkippedRanges:
    """Takes ranges of a file out of its bytes. They ascend, and are counted from the first byte that is passed."""

    def __init__(self, ranges: Iterable[ByteRange]) -> None:
        self._ranges = deque(ranges)
        self._position = 0

    @property
    def is_passed(self) -> bool:
        """Whether all ranges have come to their end."""
        return not self._ranges

    def needed(self, data: memoryview) -> Iterator[memoryview]:
        """Yield the parts of the bytes that follow which are in no range, in order; to be exhausted."""
        while len(data):
            begin, end = self._ranges[0] if self._ranges else (self._position + len(data), 0)
            if self._position < begin:
                part = data[: begin - self._position]
                yield part
            else:
                part = data[: end - self._position]
            self._position += len(part)
            data = data[len(part) :]
            if self._ranges and self._position >= self._ranges[0][1]:
                self._ranges.popleft()


class Remaining:
    """Where the bytes are that remain of a file. `skipped`: the others, ascending, not adjacent."""

    def __init__(self, skipped: Sequence[ByteRange]) -> None:
        ends = [0, *(end for _, end in skipped)]  # where each part that remains begins in the file
        lengths = [begin - end for end, (begin, _) in zip(ends, skipped, strict=False)]
        self._in_file = ends
        self._in_rest = [0, *accumulate(lengths)]

    def ranges(self, begin: int, end: int) -> list[ByteRange]:
        """Return where some of the bytes that remain are in the file; nothing for none."""
        first = bisect_right(self._in_rest, begin) - 1
        bounds = [begin, *(at for at in self._in_rest[first + 1 :] if at < end), end]
        return [
            (self._in_file[index] + part - self._in_rest[index], self._in_file[index] + until - self._in_rest[index])
            for index, (part, until) in enumerate(pairwise(bounds), first)
            if until > part
        ]
