"""Errors to statuses: any exception of this service to one reason, told in-band and as the call's status.

The table of reasons is `pruning_proto.reasons`. What is not in it leaves as INTERNAL with the request id and
no more: its text is for the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from pruning_engine.errors import PruningError
from pruning_proto import limits
from pruning_proto.names import STATUS_DETAILS_KEY
from pruning_proto.reasons import DOMAIN, TABLE, Reason, StatusCode
from pruning_proto.safetensors.header import LayoutError
from pruning_proto.v1 import pruning_pb2


@dataclass(frozen=True, slots=True)
class Violation:
    """One field or tensor that is wrong: its path and what is allowed."""

    field: str
    description: str


@dataclass(kw_only=True, eq=False)  # not frozen: Python writes tracebacks into exceptions
class Refusal(Exception):  # noqa: N818 - not every refusal is somebody's error
    """Why a call ends without a result.

    Units: `retry_seconds`; None where trying the same again does not help.
    """

    reason: Reason
    message: str
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    retry_seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def code(self) -> StatusCode:
        """The status that the call ends with."""
        return TABLE[self.reason].code


def refusal_of(error: BaseException, request_id: str) -> Refusal:
    """Give the refusal that `error` amounts to; every exception has one."""
    match error:
        case Refusal():
            return error
        case LayoutError():
            return _refusal(Reason(error.reason), str(error), None, error.tensor)
        case PruningError():
            return _refusal(Reason(error.reason), str(error), error.path, error.tensor)
        case DecodeError():
            return Refusal(reason=Reason.MALFORMED_MESSAGE, message=f"a message is not of the contract: {error}")
    return Refusal(
        reason=Reason.INTERNAL,
        message=f"the server failed; its log has the cause under request id {request_id}",
    )


def failure(refusal: Refusal, request_id: str) -> pruning_pb2.Failure:
    """Tell a refusal in-band."""
    return pruning_pb2.Failure(
        code=refusal.code,
        reason=refusal.reason,
        message=_cut(refusal.message),
        metadata={**refusal.metadata, "request_id": request_id},
        violations=[
            pruning_pb2.FieldViolation(field=violation.field, description=violation.description)
            for violation in _capped(_violations(refusal))
        ],
        retry_after=None if refusal.retry_seconds is None else _duration(refusal.retry_seconds),
    )


def rpc_status(refusal: Refusal, request_id: str) -> status_pb2.Status:
    """Tell a refusal as a status with google.rpc's details. Source: https://google.aip.dev/193."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain=DOMAIN, metadata={**refusal.metadata, "request_id": request_id}
        )
    ]
    if violations := _violations(refusal):
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in _capped(violations)
                ]
            )
        )
    if refusal.retry_seconds is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=_duration(refusal.retry_seconds)))
    return status_pb2.Status(
        code=refusal.code, message=_cut(refusal.message), details=[_packed(detail) for detail in details]
    )


@dataclass(frozen=True, slots=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def grpc_status(refusal: Refusal, request_id: str) -> grpc.Status:
    """Give what `context.abort_with_status` takes: `rpc_status` in the trailer where gRPC's clients look for it."""
    status = rpc_status(refusal, request_id)
    return _Status(
        grpc.StatusCode[refusal.code.name], status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    )


_PARTS = {
    Reason.OPTIONS_FIRST: "options",
    Reason.UNEXPECTED_MESSAGE: "options",
    Reason.TOTAL_BYTES_MISMATCH: "total_bytes",
    Reason.EMPTY_DATA: "data",
    Reason.TRUNCATED: "data",
    Reason.OVERLONG: "data",
    Reason.HEADER_TOO_LARGE: "data",
    Reason.TOO_MANY_TENSORS: "data",
    Reason.INVALID_HEADER: "data",
    Reason.DUPLICATE_NAME: "data",
    Reason.INVALID_HISTORY: "data",
}
"""The part of a request that a reason is about, where it is neither a field of the recipe nor a tensor."""


def _refusal(reason: Reason, message: str, path: str | None, tensor: str | None) -> Refusal:
    places = [path] if path else []
    places += [f'tensors["{tensor}"]'] if tensor else []
    named = {"field": path or "", "tensor": tensor or ""}
    return Refusal(
        reason=reason,
        message=message,
        violations=tuple(Violation(_cut(place, 256), _cut(message, 512)) for place in places),
        metadata={key: _cut(value, 256) for key, value in named.items() if value},
    )


def _violations(refusal: Refusal) -> tuple[Violation, ...]:
    """What was wrong; a refusal of a request as such names the part of it, if it can be named."""
    if refusal.violations or refusal.code is not StatusCode.INVALID_ARGUMENT:
        return refusal.violations
    return (Violation(_PARTS.get(refusal.reason, ""), _cut(refusal.message, 512)),)


def _capped(violations: tuple[Violation, ...]) -> tuple[Violation, ...]:
    more = len(violations) - limits.VIOLATIONS
    if more <= 0:
        return violations
    return (*violations[: limits.VIOLATIONS - 1], Violation("", f"and {more + 1} more"))


def _cut(text: str, most_bytes: int = limits.STATUS_MESSAGE_BYTES) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode(errors="ignore") + "..."


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
