"""A length cut into steps."""

import pytest

from pruning_proto.spans import spans


@pytest.mark.parametrize(
    ("total", "step", "expected"),
    [(0, 3, []), (2, 3, [(0, 2)]), (3, 3, [(0, 3)]), (7, 3, [(0, 3), (3, 6), (6, 7)])],
    ids=["nothing", "less than a step", "one step", "a last one that is shorter"],
)
def test_steps_cover_the_length_in_order(total: int, step: int, expected: list[tuple[int, int]]) -> None:
    assert list(spans(total, step)) == expected
