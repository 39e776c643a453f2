"""Bytes of a file that nobody needs, taken out of the stream as it passes."""

from collections import deque
from collections.abc import Iterable, Iterator

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
