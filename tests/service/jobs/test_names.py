"""Names of jobs and of their operations."""

import pytest

from pruning_service.jobs.names import is_job_name, operation_name, parse_operation_name
from pruning_service.status import Refusal
from pruning_service.stores.uris import StoreUri

PLACE = StoreUri.parse("s3://bucket/models")


@pytest.mark.parametrize("name", ["a", "a1", "nightly-llama-7b", "a" * 63])
def test_labels_are_names(name: str) -> None:
    assert is_job_name(name)


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "-a", "a-", "a_b", "a.b", "a/b", "..", "a" * 64, "a\n", "ä", "a b", ".targets"]
)
def test_others_are_not(name: str) -> None:
    assert not is_job_name(name)


def test_an_operation_has_its_place() -> None:
    full = operation_name(PLACE, "nightly")

    assert parse_operation_name(str(full)) == full
    assert full.place != operation_name(PLACE.parent, "nightly").place


@pytest.mark.parametrize("text", ["nightly", "operations/nightly"])
def test_a_name_is_enough(text: str) -> None:
    assert parse_operation_name(text).name == "nightly"
    assert not parse_operation_name(text).place


@pytest.mark.parametrize(
    "text",
    ["", "/", "operations/", "operations/../x", "operations/1/x", "jobs/x", "operations/12345678/x/y"],
)
def test_anything_else_is_not_there(text: str) -> None:
    with pytest.raises(Refusal, match="JOB_NOT_FOUND"):
        parse_operation_name(text)
