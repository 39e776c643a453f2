"""The output formats that callers may ask for are those of the table that have a file."""

from typing import get_args

import pytest

from pruning_client.errors import RecipeError
from pruning_client.results.output_format import Output, format_of, name_of
from pruning_proto.formats import FORMATS, OutputFormat

WITH_FILE = [row for row in FORMATS if row.has_file]


def test_type_lists_the_formats_with_a_file() -> None:
    assert get_args(Output) == tuple(row.name for row in WITH_FILE)


@pytest.mark.parametrize("row", WITH_FILE, ids=lambda row: row.name)
def test_name_and_number_are_the_tables(row: OutputFormat) -> None:
    output = format_of(row.name)
    assert (output, name_of(output)) == (row.number, row.name)


def test_format_without_a_file_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"output: the output formats are 'pruned', .*; got 'report'"):
        format_of("report")


def test_format_of_a_newer_server_has_a_name() -> None:
    assert name_of(99) == "99"  # type: ignore[arg-type]  # no number of this contract
