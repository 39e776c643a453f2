"""Text of others on a terminal."""

import pytest

from pruning_client.cli.terminal import columns, printable


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
