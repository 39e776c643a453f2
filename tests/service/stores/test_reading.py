"""Which requests are made for ranges, and how far ahead."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pruning_service.stores.reading import Request, read_ahead, requests_for
from pruning_service.stores.store import ByteRange

CASES: dict[str, tuple[Sequence[ByteRange], list[tuple[int, int]]]] = {
    "nothing": ([], []),
    "empty ranges": ([(5, 5), (9, 9)], []),
    "neighbours": ([(0, 3), (3, 5)], [(0, 5)]),
    "a gap that is not worth a request": ([(0, 3), (13, 15)], [(0, 15)]),
    "a gap that is": ([(0, 3), (14, 15)], [(0, 3), (14, 15)]),
    "an empty one far away": ([(0, 3), (90, 90)], [(0, 3)]),
    "longer than a block": ([(5, 255)], [(5, 105), (105, 205), (205, 255)]),
    "together longer than a block": ([(0, 60), (60, 120)], [(0, 60), (60, 120)]),
}


@pytest.mark.parametrize(("ranges", "expected"), CASES.values(), ids=CASES)
def test_requests(ranges: Sequence[ByteRange], expected: list[tuple[int, int]]) -> None:
    requests = list(requests_for(ranges, gap_bytes=10, block_bytes=100))
    assert [(request.begin, request.end) for request in requests] == expected
    needed = [position for begin, end in ranges for position in range(begin, end)]
    assert [at for request in requests for begin, end in request.parts for at in range(begin, end)] == needed


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_no_more_is_fetched_ahead_than_allowed(executor: ThreadPoolExecutor) -> None:
    asked: list[int] = []

    def fetch(begin: int, end: int) -> memoryview:
        asked.append(begin)
        return memoryview(bytes(end - begin))

    requests = iter([Request(at, at + 10, ((at, at + 10),)) for at in range(0, 1000, 10)])
    pieces = read_ahead(requests, fetch, executor, most_bytes=30)
    for _ in range(5):
        next(pieces)
    assert max(asked) < 5 * 10 + 30


def test_requests_are_under_way_together(executor: ThreadPoolExecutor) -> None:
    together = threading.Barrier(3, timeout=30)

    def fetch(begin: int, end: int) -> memoryview:
        together.wait()  # for ever, if they came one after the other
        return memoryview(bytes(end - begin))

    requests = iter([Request(at, at + 10, ((at, at + 10),)) for at in (0, 10, 20)])
    assert len(list(read_ahead(requests, fetch, executor, most_bytes=30))) == 3


def test_error_of_a_request_is_raised_in_its_place(executor: ThreadPoolExecutor) -> None:
    def fetch(begin: int, end: int) -> memoryview:
        if begin == 10:
            raise OSError("cut")
        return memoryview(bytes(end - begin))

    requests = iter([Request(at, at + 10, ((at, at + 10),)) for at in (0, 10, 20)])
    pieces = read_ahead(requests, fetch, executor, most_bytes=100)
    assert len(next(pieces)) == 10
    with pytest.raises(OSError, match="cut"):
        next(pieces)
