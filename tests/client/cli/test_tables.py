"""Tables as text."""

import pytest

from pruning_client.cli.tables import Table, bytes_text, shorten

TABLE = Table(
    ("tensor", "entries"), [("encoder.layer.0.attention.weight", "1,000"), ("b", "1")], ("2 tensors", "1,001")
)


def test_columns_align() -> None:
    assert Table(("tensor", "entries"), [("a", "1,000")], ("1 tensor", "1,000")).render(None).splitlines() == [
        "tensor    entries",
        "─────────────────",
        "a           1,000",
        "─────────────────",
        "1 tensor    1,000",
    ]


def test_names_are_shortened_to_fit_the_terminal() -> None:
    assert {len(line) <= 30 for line in TABLE.render(30).splitlines()} == {True}


def test_names_are_whole_where_there_is_no_terminal() -> None:
    assert "encoder.layer.0.attention.weight" in TABLE.render(None)


def test_short_names_leave_out_the_middle() -> None:
    assert shorten("encoder.layer.0.weight", 12) == "enco….weight"
    assert shorten("weight", 6) == "weight"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (90_868_376, "90.9 MB"), (3 * 10**12, "3.0 TB"), (10**16, "10000.0 TB")],
)
def test_bytes_are_told_in_the_unit_that_fits(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_names_that_would_move_the_cursor_are_escaped() -> None:
    rendered = Table(("tensor", "n"), [("\x1b[2J\nerror: x", "1")]).render(None)
    assert rendered.splitlines()[2:] == [r"\x1b[2J\nerror: x  1"]


def test_wide_letters_align() -> None:
    lines = Table(("tensor", "n"), [("剪枝", "1"), ("abcdef", "2")]).render(None).splitlines()
    assert lines[2:] == ["剪枝    1", "abcdef  2"]


def test_wide_names_are_shortened_by_columns() -> None:
    assert shorten("剪枝剪枝剪枝", 8) == "剪…剪枝"
