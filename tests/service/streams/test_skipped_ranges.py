"""Ranges that are taken out of a stream, however it is cut into pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pruning_service.streams.skipped_ranges import SkippedRanges

CONTENT = bytes(range(100))


def needed(ranges: list[tuple[int, int]], cuts: list[int]) -> bytes:
    """Return what is left of the content when it comes in these pieces."""
    skipped, found = SkippedRanges(ranges), b""
    bounds = [0, *sorted(cuts), len(CONTENT)]
    for begin, end in pairwise(bounds):
        found += b"".join(bytes(part) for part in skipped.needed(memoryview(CONTENT)[begin:end]))
    assert skipped.is_passed
    return found


@given(st.lists(st.integers(0, 100)))
def test_the_same_bytes_are_left_in_any_pieces(cuts: list[int]) -> None:
    assert needed([(0, 3), (10, 11), (50, 100)], cuts) == CONTENT[3:10] + CONTENT[11:50]


def test_nothing_is_taken_out_without_ranges() -> None:
    assert needed([], [7]) == CONTENT


def test_bytes_beyond_the_last_range_are_left() -> None:
    assert needed([(0, 99)], [98]) == CONTENT[99:]
