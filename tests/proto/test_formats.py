"""The table of output formats: one row for each format of the contract, and rows that fit together."""

import pytest

from pruning_engine.recipe import OutputForm
from pruning_proto.formats import BY_NAME, BY_NUMBER, FORMATS, PRUNED, OutputFormat
from pruning_proto.v1 import pruning_pb2 as pb

formats = pytest.mark.parametrize("output", FORMATS, ids=lambda output: output.name)


def test_every_format_of_the_contract_has_its_row() -> None:
    wire = {name.removeprefix("OUTPUT_FORM_").lower(): number for name, number in pb.OutputForm.items() if number}
    assert {row.name: row.number for row in FORMATS} == wire


def test_unspecified_is_pruned() -> None:
    assert BY_NUMBER[pb.OUTPUT_FORM_UNSPECIFIED] is PRUNED


def test_engine_computes_every_format_that_it_has() -> None:
    assert {row.computed_as for row in FORMATS} == {form.value for form in OutputForm}


@formats
def test_engine_computes_its_own_formats_as_they_are(output: OutputFormat) -> None:
    assert BY_NAME[output.computed_as].computed_as == output.computed_as


@formats
def test_only_a_file_has_weights_and_a_header(output: OutputFormat) -> None:
    assert output.has_file or not (output.carries_weights or output.header_is_late or output.is_loadable)


@formats
def test_what_loads_has_its_weights(output: OutputFormat) -> None:
    assert output.carries_weights or not output.is_loadable
