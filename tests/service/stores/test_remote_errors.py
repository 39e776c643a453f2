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
from pruning_service.stores.stores import Stores, StoreSettings
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


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_message_says_how_credentials_are_given(scheme: str) -> None:
    """Where the environment has none, the library asks the machine; its address tells nobody what is missing."""
    said = "Error performing PUT http://169.254.169.254/latest/api/token in 1ms - connection refused"
    with (
        pytest.raises(StoreUnavailableError, match=r"no credentials for this store; set (AWS|GOOGLE)_.*latest/api"),
        translated(StoreUri.parse(f"{scheme}://bucket/key")),
    ):
        raise exceptions.GenericError(said)


def test_store_without_an_account_is_refused_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    place = StoreUri.parse("az://container/key")
    with pytest.raises(StoreError, match="set AZURE_STORAGE_ACCOUNT_NAME"), Stores(StoreSettings()) as stores:
        stores.open(place)
