"""What a server says went wrong -> the exception that a caller catches. Decided by reason, never by wording.

A failure arrives in the stream as a `Failure`, and as the status of the call with google.rpc details. A status without
our details comes from the transport or a proxy, and is judged by its code alone.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
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
from pruning_client.errors.advice import advice
from pruning_proto.names import REQUEST_ID_KEY, STATUS_DETAILS_KEY
from pruning_proto.reasons import DOMAIN, TABLE, Reason
from pruning_proto.v1.pruning_pb2 import Failure

_SILENT: Final = "{} did not answer in time; check the address, or"
_LATE: Final = "the server at {} did not finish in time;"

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


def from_status(
    call: grpc.RpcError, target: str, sent_bytes: int | None = None, *, is_tls: bool = False
) -> PruningError:
    """Give the exception of a call that ended with a status other than OK.

    `sent_bytes`: of the model, when it ended; None if the server had not answered before. `is_tls`: whether the
    call went over TLS.
    """
    code = call.code()
    info, bad_request, retry = _details(call)
    if info.domain != DOMAIN:
        message = _without_reason(code, call.details() or "", target, sent_bytes, is_tls=is_tls)
        return _BY_CODE.get(code, InternalError)(message, code=code, metadata=_request_id(call))
    return _class_of(info.reason, code)(
        call.details() or info.reason,
        reason=info.reason,
        code=code,
        metadata=_request_id(call) | dict(info.metadata),
        violations=[Violation(wrong.field, wrong.description) for wrong in bad_request.field_violations],
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
    )


def _class_of(reason: str, code: StatusCode) -> type[PruningError]:
    try:
        return BY_FAMILY[TABLE[Reason(reason)].family]
    except ValueError:  # a reason of a newer server
        return _BY_CODE.get(code, InternalError)


def _details(
    call: Any,  # sync metadata are named tuples, grpc.aio's are bare ones
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    found = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    for key, value in call.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY:
            with suppress(DecodeError):  # of somebody on the way: the status alone is judged
                for detail in status_pb2.Status.FromString(value).details:
                    any(detail.Unpack(message) for message in found)
    return found


def _request_id(call: Any) -> dict[str, str]:
    """Give the call's name in the server's log, which comes before anything else; nothing if no server answered."""
    found = [str(value) for key, value in call.initial_metadata() or () if key == REQUEST_ID_KEY]
    return {"request_id": found[0]} if found else {}


def _without_reason(code: StatusCode, details: str, target: str, sent_bytes: int | None, *, is_tls: bool) -> str:
    if code is StatusCode.UNAVAILABLE:
        return _unavailable(details, target, sent_bytes, is_tls=is_tls)
    if code is StatusCode.UNIMPLEMENTED:
        return f"what answers at {target} is no pruning server of this version: it does not know pruning.v1 ({details})"
    if code is StatusCode.DEADLINE_EXCEEDED:
        late = _SILENT if sent_bytes is None else _LATE
        return f"{late.format(target)} allow it more with a longer timeout"
    if code is StatusCode.UNAUTHENTICATED:
        return f"{target} does not know this caller ({details}); give a token that it accepts, token=..., --token-file"
    if code is StatusCode.PERMISSION_DENIED:
        return f"{target} knows this caller but does not let it do this ({details}); ask those who run it"
    return f"the call to {target} failed with {code.name}: {details}"


def _unavailable(details: str, target: str, sent_bytes: int | None, *, is_tls: bool) -> str:
    if sent_bytes is None:
        return f"no pruning server answers at {target} ({details}); {advice(details, is_tls=is_tls)}"
    return (
        f"the connection to {target} broke after {sent_bytes:,} bytes of the model were sent ({details}); "
        "nothing of the result counts"
    )
