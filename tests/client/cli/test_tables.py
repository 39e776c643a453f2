"""Tables as text."""

import pytest

from pruning_client.cli.tables import Table, bytes_text, columns, printable, shorten

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


def test_footer_has_a_second_row_for_the_total() -> None:
    table = Table(("tensor", "n"), [("a.weight", "1")], ("1 selected", "1"), ("whole model", "1,000"))
    assert table.render(None).splitlines()[-3:] == ["──────────────────", "1 selected       1", "whole model  1,000"]
    assert table.render(80) == table.render(None)


def test_names_are_shortened_to_fit_the_terminal() -> None:
    assert {len(line) <= 30 for line in TABLE.render(30).splitlines()} == {True}


def test_table_that_fits_the_terminal_is_the_one_of_a_pipe() -> None:
    assert TABLE.render(80) == TABLE.render(None)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("layer.0.weight", "layer.0.weight", id="a name"),
        pytest.param("剪枝 é 🙂", "剪枝 é 🙂", id="letters of the world"),
        pytest.param("\x1b[2Jx", r"\x1b[2Jx", id="escape"),
        pytest.param("a\nb\rc\t", r"a\nb\rc\t", id="line breaks"),
        pytest.param("\x9b31m", r"\x9b31m", id="escape of 8 bits"),
        pytest.param("\u202eabc", r"\u202eabc", id="right to left"),
        pytest.param("\ud800", r"\ud800", id="half a surrogate pair"),
    ],
)
def test_what_does_not_print_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(("text", "expected"), [("abc", 3), ("剪枝", 4), ("é", 1), ("", 0)])
def test_columns_are_those_of_a_terminal(text: str, expected: int) -> None:
    assert columns(text) == expected


def test_names_are_not_lost_in_a_narrow_terminal() -> None:
    table = Table(("largest not selected", "reason"), [("model.embed_tokens.weight", "an embedding, by its name")])
    lines = table.render(20).splitlines()
    assert lines[0].startswith("large")
    assert lines[2].startswith("mod")
    assert lines[2].endswith("an embedding, by its name")
