"""Errors of the library as errors of stores."""

import pickle

import pytest
from obstore import exceptions

from pruning_service.stores.errors import (
    AccessDeniedError,
    ExistsError,
    ObjectMissingError,
    ReplacedError,
    StoreError,
    StoreUnavailableError,
)
from pruning_service.stores.remote_errors import translated
from pruning_service.stores.uris import StoreUri

PLACE = StoreUri.parse("s3://bucket/key")

CASES: dict[type[Exception], type[StoreError]] = {
    exceptions.NotFoundError: ObjectMissingError,
    FileNotFoundError: ObjectMissingError,
    exceptions.AlreadyExistsError: ExistsError,
    exceptions.PreconditionError: ReplacedError,
    exceptions.PermissionDeniedError: AccessDeniedError,
    exceptions.UnauthenticatedError: AccessDeniedError,
    exceptions.GenericError: StoreUnavailableError,
    TimeoutError: StoreUnavailableError,
}


@pytest.mark.parametrize(("raised", "expected"), CASES.items(), ids=lambda kind: kind.__name__)
def test_kind(raised: type[Exception], expected: type[StoreError]) -> None:
    with pytest.raises(expected, match="s3://bucket/key") as caught, translated(PLACE):
        raise raised("why")
    assert type(caught.value) is expected


@pytest.mark.parametrize("kind", sorted(set(CASES.values()), key=str))
def test_error_goes_to_another_process(kind: type[StoreError]) -> None:
    error = kind(PLACE, "why")
    there = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (type(there), str(there), there.errno) == (kind, str(error), error.errno)


def test_message_has_no_query_string() -> None:
    with pytest.raises(StoreUnavailableError) as caught, translated(PLACE):
        raise exceptions.GenericError("GET http://host/bucket/key?X-Amz-Signature=hunter2 failed\nand more hunter2")
    assert "hunter2" not in str(caught.value)
    assert "http://host/bucket/key failed" in str(caught.value)
