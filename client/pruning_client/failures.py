"""What a server says went wrong -> the exception that a caller catches. Decided by reason, never by wording.

A failure arrives in the stream as a `Failure`, and as the status of the call with google.rpc details. A status without
our details comes from the transport or a proxy, and is judged by its code alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from pruning_client.errors import (
    BY_FAMILY,
    AuthenticationError,
    CapacityError,
    CheckpointError,
    DeadlineError,
    InternalError,
    ProtocolError,
    PruningError,
    UnavailableError,
    Violation,
)
from pruning_proto.reasons import DOMAIN, TABLE, Reason
from pruning_proto.v1.pruning_pb2 import Failure

_DETAILS_KEY: Final = "grpc-status-details-bin"

_CODES: Final[Mapping[int, StatusCode]] = MappingProxyType({code.value[0]: code for code in StatusCode})

_BY_CODE: Final[Mapping[StatusCode, type[PruningError]]] = MappingProxyType(
    {
        StatusCode.INVALID_ARGUMENT: CheckpointError,
        StatusCode.RESOURCE_EXHAUSTED: CapacityError,
        StatusCode.UNIMPLEMENTED: ProtocolError,
        StatusCode.ABORTED: ProtocolError,
        StatusCode.UNAVAILABLE: UnavailableError,
        StatusCode.CANCELLED: UnavailableError,
        StatusCode.DEADLINE_EXCEEDED: DeadlineError,
        StatusCode.UNAUTHENTICATED: AuthenticationError,
        StatusCode.PERMISSION_DENIED: AuthenticationError,
    }
)
"""The exception of a status whose reason is missing or unknown here; of all others InternalError."""


def from_failure(failure: Failure) -> PruningError:
    """Give the exception of a failure told in the stream."""
    code = _CODES.get(failure.code, StatusCode.UNKNOWN)
    return _class_of(failure.reason, code)(
        failure.message,
        reason=failure.reason or None,
        code=code,
        metadata=failure.metadata,
        violations=[Violation(wrong.field, wrong.description) for wrong in failure.violations],
        retry_after=failure.retry_after.ToTimedelta() if failure.HasField("retry_after") else None,
    )


def from_status(call: grpc.RpcError, target: str, sent_bytes: int | None = None) -> PruningError:
    """Give the exception of a call that ended with a status other than OK.

    `sent_bytes`: of the model, when it ended; None if the server had not answered before.
    """
    code = call.code()
    info, bad_request, retry = _details(call)
    if info.domain != DOMAIN:
        message = _without_reason(code, call.details() or "", target, sent_bytes)
        return _BY_CODE.get(code, InternalError)(message, code=code)
    return _class_of(info.reason, code)(
        call.details() or info.reason,
        reason=info.reason,
        code=code,
        metadata=info.metadata,
        violations=[Violation(wrong.field, wrong.description) for wrong in bad_request.field_violations],
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
    )


def _class_of(reason: str, code: StatusCode) -> type[PruningError]:
    try:
        return BY_FAMILY[TABLE[Reason(reason)].family]
    except ValueError:  # a reason of a newer server
        return _BY_CODE.get(code, InternalError)


def _details(
    call: grpc.RpcError,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    found = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    for item in call.trailing_metadata() or ():
        if item.key == _DETAILS_KEY:
            for detail in status_pb2.Status.FromString(item.value).details:
                any(detail.Unpack(message) for message in found)
    return found


def _without_reason(code: StatusCode, details: str, target: str, sent_bytes: int | None) -> str:
    if code is StatusCode.UNAVAILABLE and sent_bytes is not None:
        return (
            f"the connection to {target} broke after {sent_bytes:,} bytes of the model were sent ({details}); "
            "nothing of the result counts"
        )
    if code is StatusCode.UNAVAILABLE:
        return (
            f"no pruning server answers at {target} ({details}); "
            "check the address, or start one there with `prune serve --listen HOST:PORT`"
        )
    if code is StatusCode.UNIMPLEMENTED:
        return f"what answers at {target} is no pruning server of this version: it does not know pruning.v1 ({details})"
    if code is StatusCode.DEADLINE_EXCEEDED:
        return f"the server at {target} did not finish in time; allow it more with a longer timeout"
    return f"the call to {target} failed with {code.name}: {details}"
