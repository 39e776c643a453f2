"""docs/where_zeros_help.md: what it says of types is in its tables, and the script finds its places in the page."""

import re
from typing import Final

import pytest

from tests.benchmarks.where_zeros_help.__main__ import PAGE, PARTS, with_part
from tests.benchmarks.where_zeros_help.tables import Table, fastest

KEEP: Final = ("F16", "BF16", "Q8_0", "Q5_0", "Q4_0", "MXFP4", "NVFP4", "Q6_K", "Q3_K", "TQ1_0", "TQ2_0")
LOSE: Final = ("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ2_XXS", "IQ1_S")


def zeros_that_stay(kind: str) -> float:
    """Return the percentage in the page's table of GGUF's types."""
    row = re.search(rf"^\| {kind} \| [\d.]+ \| ([\d.]+)% \|", PAGE.read_text(), re.MULTILINE)
    assert row is not None, kind
    return float(row[1])


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_one_place_in_the_page(part: str) -> None:
    assert PAGE.read_text().count(f"<!-- measured: {part} -->") == 1
    assert with_part(PAGE.read_text(), part, "new").count("\n\nnew\n\n<!-- end -->\n") == 1


@pytest.mark.parametrize("kind", KEEP)
def test_types_that_the_page_says_keep_zeros_do(kind: str) -> None:
    assert zeros_that_stay(kind) == 100


@pytest.mark.parametrize("kind", LOSE)
def test_types_that_the_page_says_lose_zeros_do(kind: str) -> None:
    assert zeros_that_stay(kind) < 5


def test_part_is_replaced_and_nothing_else() -> None:
    page = "a\n<!-- measured: x -->\n\nold\n\n<!-- end -->\nb\n<!-- measured: y -->\n\nkept\n\n<!-- end -->\n"
    assert with_part(page, "x", "new") == page.replace("old", "new")


def test_page_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="measured: x"):
        with_part("a\n", "x", "new")


def test_table_is_markdown() -> None:
    assert str(Table(["what", "size"], [["a", "1%"]])) == "| what | size |\n| --- | --: |\n| a | 1% |"


def test_runs_take_turns() -> None:
    calls: list[str] = []
    times = fastest({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, seconds=0)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert set(times) == {"a", "b"}
