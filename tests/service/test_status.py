"""Errors to statuses: total, and small enough to arrive."""

import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from pruning_engine.errors import MismatchError
from pruning_engine.errors import Reason as EngineReason
from pruning_proto.reasons import TABLE, Reason, StatusCode
from pruning_proto.safetensors.header import LayoutError
from pruning_service.status import Refusal, Violation, failure, refusal_of
from pruning_service.status_details import rpc_status

ID = {"request_id": "id"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LayoutError(Reason.SIZE_MISMATCH, "w", "w"), Reason.SIZE_MISMATCH),
        (MismatchError(EngineReason.DIM_OUT_OF_RANGE, "w", tensor="w"), Reason.DIM_OUT_OF_RANGE),
        (DecodeError("no message"), Reason.MALFORMED_MESSAGE),
        (RuntimeError("a fault of ours"), Reason.INTERNAL),
        (Refusal(reason=Reason.NO_ROOM, message="full"), Reason.NO_ROOM),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_a_reason(error: Exception, reason: Reason) -> None:
    assert refusal_of(error, "id").reason is reason


@pytest.mark.parametrize("reason", list(EngineReason))
def test_every_reason_of_the_engine_is_one_of_the_wire(reason: EngineReason) -> None:
    assert refusal_of(MismatchError(reason, "text"), "id").code is TABLE[Reason(reason)].code


def test_an_error_of_ours_tells_the_request_id_and_not_its_text() -> None:
    refusal = refusal_of(RuntimeError("secret"), "abc123")

    assert refusal.code is StatusCode.INTERNAL
    assert "abc123" in refusal.message
    assert "secret" not in refusal.message


def test_an_engine_error_names_field_and_tensor() -> None:
    error = MismatchError(EngineReason.COUNT_TOO_LARGE, "too many", field="rules[0].amount.count", tensor="a.weight")
    sent = failure(refusal_of(error, "id"), "id")

    assert [violation.field for violation in sent.violations] == [
        "recipe.rules[0].amount.count",
        'tensors["a.weight"]',
    ]
    assert dict(sent.metadata) == {"field": "recipe.rules[0].amount.count", "tensor": "a.weight", "request_id": "id"}


def test_the_status_has_googles_details() -> None:
    refusal = Refusal(
        reason=Reason.NO_ROOM, message="full", violations=(Violation("total_bytes", "less"),), retry_seconds=1.5
    )
    status = rpc_status(refusal, ID)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()

    assert [packed.Unpack(kind) for packed, kind in zip(status.details, (info, bad, retry), strict=True)] == [True] * 3
    assert (info.reason, info.domain, info.metadata["request_id"]) == ("NO_ROOM", "pruning.v1", "id")
    assert bad.field_violations[0].field == "total_bytes"
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5


@pytest.mark.parametrize("reason", [reason for reason in Reason if TABLE[reason].code is StatusCode.INVALID_ARGUMENT])
def test_what_is_wrong_with_a_request_is_always_told_as_a_bad_request(reason: Reason) -> None:
    refusal = Refusal(reason=reason, message="what was wrong")
    bad = error_details_pb2.BadRequest()

    assert rpc_status(refusal, ID).details[1].Unpack(bad)
    assert [violation.description for violation in bad.field_violations] == ["what was wrong"]
    assert [violation.description for violation in failure(refusal, "id").violations] == ["what was wrong"]


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        (Reason.OPTIONS_FIRST, "options"),
        (Reason.TOTAL_BYTES_MISMATCH, "total_bytes"),
        (Reason.TRUNCATED, "data"),
        (Reason.INVALID_HEADER, "data"),
    ],
)
def test_a_fault_of_the_stream_names_the_part_of_the_request(reason: Reason, part: str) -> None:
    (violation,) = failure(Refusal(reason=reason, message="what was wrong"), "id").violations

    assert violation.field == part


def test_many_violations_are_capped_so_that_the_status_arrives() -> None:
    violations = tuple(Violation(f"recipe.rules[{index}].<field 9>", "x" * 60) for index in range(100))
    status = rpc_status(Refusal(reason=Reason.UNSUPPORTED_FIELD, message="m" * 9999, violations=violations), ID)
    bad = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad)

    assert len(bad.field_violations) == 20
    assert bad.field_violations[-1].description == "and 81 more"
    assert status.ByteSize() < 6 * 1024


def test_a_very_long_tensor_name_still_fits() -> None:
    name = "w" * 100_000
    status = rpc_status(refusal_of(MismatchError(EngineReason.NAME_COLLISION, name, tensor=name), "id"), ID)

    assert status.ByteSize() < 6 * 1024
