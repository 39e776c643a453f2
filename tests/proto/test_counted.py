"""Counts in words."""

import pytest

from pruning_proto.counted import counted, counted_that


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "unit", "0 units"), (1, "unit", "1 unit"), (1, "entry", "1 entry"), (2_000, "entry", "2,000 entries")],
)
def test_counted(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text


@pytest.mark.parametrize(
    ("count", "verb", "text"), [(1, "are", "1 row is"), (2, "are", "2 rows are"), (1, "have", "1 row has")]
)
def test_counted_that(count: int, verb: str, text: str) -> None:
    assert counted_that(count, "row", verb) == text
