"""What a server says went wrong becomes the exception of its reason; without a reason, of its status."""

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from pruning_client import errors
from pruning_client.errors.from_server import from_failure
from pruning_proto.reasons import TABLE, Family, Reason
from pruning_proto.v1 import pruning_pb2 as pb


def test_every_family_of_reasons_has_an_exception() -> None:
    assert set(errors.BY_FAMILY) == set(Family)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_becomes_the_exception_of_its_family(reason: Reason) -> None:
    error = from_failure(pb.Failure(code=TABLE[reason].code, reason=reason, message="no"))
    assert type(error) is errors.BY_FAMILY[TABLE[reason].family]
    assert (error.reason, error.code) == (reason, StatusCode[TABLE[reason].code.name])


def test_exception_carries_all_that_was_told() -> None:
    failure = pb.Failure(
        code=8,
        reason="NO_ROOM",
        message="no room now",
        metadata={"request_id": "r1", "tensor": "w"},
        violations=[pb.FieldViolation(field='tensors["w"]', description="too large")],
        retry_after=Duration(seconds=5),
    )
    error = from_failure(failure)
    assert str(error) == "no room now"
    assert error.request_id == "r1"
    assert error.metadata["tensor"] == "w"
    assert error.violations == (errors.Violation('tensors["w"]', "too large"),)
    assert error.retry_after == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (StatusCode.INVALID_ARGUMENT, errors.CheckpointError),
        (StatusCode.RESOURCE_EXHAUSTED, errors.CapacityError),
        (StatusCode.UNAUTHENTICATED, errors.AuthenticationError),
        (StatusCode.INTERNAL, errors.InternalError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_reason_of_a_newer_server_is_judged_by_its_status(
    code: StatusCode, expected: type[errors.PruningError]
) -> None:
    error = from_failure(pb.Failure(code=code.value[0], reason="BRAND_NEW", message="no"))
    assert type(error) is expected
    assert error.reason == "BRAND_NEW"


def test_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = {name for name in vars(errors) if name.endswith("Error") and name != "LayoutError"}
    assert all(name in (errors.__doc__ or "") for name in drawn)
    assert all(issubclass(getattr(errors, name), errors.PruningError) for name in drawn)
