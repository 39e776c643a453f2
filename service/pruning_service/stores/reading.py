"""Ranges of an object, fetched in requests of a good size, while the bytes before are used.

Ranges that are close together become one request, and what is between them is thrown away; long ones become several.
A request is never empty: stores refuse those, and empty tensors are legal.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final, TypeAlias

from pruning_proto.limits import MIB
from pruning_proto.spans import spans
from pruning_service.stores.store import ByteRange

GAP_BYTES: Final = 256 * 1024
"""Bytes that are rather fetched in vain than asked for around: at 100 MB/s they take as long as an answer does."""

BLOCK_BYTES: Final = 8 * MIB
"""The most that one request asks for."""

Fetch: TypeAlias = Callable[[int, int], memoryview]
"""Returns the bytes of an object from one offset to another."""


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes that are fetched together, and the parts of them that are needed."""

    begin: int
    end: int
    parts: tuple[ByteRange, ...]

    @property
    def size(self) -> int:
        """Bytes that are fetched."""
        return self.end - self.begin


def requests_for(
    ranges: Sequence[ByteRange], *, gap_bytes: int = GAP_BYTES, block_bytes: int = BLOCK_BYTES
) -> Iterator[Request]:
    """Yield the requests for ranges, which ascend and do not overlap; none for empty ranges."""
    parts: list[ByteRange] = []
    for begin, end in _blocks(ranges, block_bytes):
        if parts and (begin - parts[-1][1] > gap_bytes or end - parts[0][0] > block_bytes):
            yield Request(parts[0][0], parts[-1][1], tuple(parts))
            parts = []
        parts.append((begin, end))
    if parts:
        yield Request(parts[0][0], parts[-1][1], tuple(parts))


def _blocks(ranges: Sequence[ByteRange], block_bytes: int) -> Iterator[ByteRange]:
    for begin, end in ranges:
        for first, last in spans(end - begin, block_bytes):
            if last > first:
                yield begin + first, begin + last


def read_ahead(requests: Iterator[Request], fetch: Fetch, executor: Executor, most_bytes: int) -> Iterator[memoryview]:
    """Yield the parts of the requests in order; up to `most_bytes` are fetched, or being fetched, beside each.

    Raises: what `fetch` raises.
    """
    pending: deque[tuple[Request, Future[memoryview]]] = deque()
    held_bytes = 0
    try:
        while True:
            while not pending or held_bytes < most_bytes:
                request = next(requests, None)
                if request is None:
                    break
                pending.append((request, executor.submit(fetch, request.begin, request.end)))
                held_bytes += request.size
            if not pending:
                return
            request, future = pending.popleft()
            data = future.result()
            for begin, end in request.parts:
                yield data[begin - request.begin : end - request.begin]
            del future, data
            held_bytes -= request.size
    finally:
        for _, future in pending:
            future.cancel()
