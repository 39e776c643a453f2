"""What a server answers instead of a result -> the exception that a caller catches, decided by reason, not wording.

A failure arrives in the stream as a `Failure`, and as the status of the call with google.rpc details. A status without
our details comes from the transport or a proxy, and is judged by its code alone. Imports no gRPC.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from pruning_client.errors.tree import (
    BY_FAMILY,
    AuthenticationError,
    CapacityError,
    CheckpointError,
    DeadlineError,
    InternalError,
    JobError,
    ProtocolError,
    PruningError,
    UnavailableError,
    Violation,
)
from pruning_proto.names import REQUEST_ID_KEY, STATUS_DETAILS_KEY
from pruning_proto.reasons import DOMAIN, TABLE, Reason, StatusCode
from pruning_proto.v1.pruning_pb2 import Failure

if TYPE_CHECKING:
    import grpc
    from google.rpc import error_details_pb2, status_pb2

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
        StatusCode.NOT_FOUND: JobError,
        StatusCode.ALREADY_EXISTS: JobError,
        StatusCode.FAILED_PRECONDITION: JobError,
    }
)
"""The exception of a status whose reason is missing or unknown here; of all others InternalError."""

_NO_ANSWER: Final = "{} did not answer in time; check the address, or"
_NOT_FINISHED: Final = "the server at {} did not finish in time;"

_NO_SERVER: Final = "check the address, or start one there with `prune serve --listen HOST:PORT`"

_ADVICE: Final = (
    ("certificate has expired", "the server's certificate has expired: it needs a new one"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "no CA that this client trusts signed the server's certificate: give the one that did, Tls(ca=...), --tls-ca",
    ),
    (
        "Hostname Verification",
        "the server's certificate is for another name: call the server by that name, or give it, "
        "Tls(server_name=...), --tls-server-name",
    ),
    ("WRONG_VERSION_NUMBER", "what listens there speaks no TLS: leave TLS out (tls, --tls), or check the port"),
    (
        "create security handshaker",
        "the files given for TLS are not valid, or the certificate and the key do not belong together",
    ),
    ("http1.x server", "what listens there speaks HTTP/1 and not gRPC: check the port"),
    ("Failed parsing HTTP/2", "what listens there does not speak gRPC: check the port"),
    ("lookup", "there is no host of this name: check the address"),
)
"""A part of gRPC's message -> what it means and what to do. The first that matches counts.

Only the wording of an error depends on gRPC's here, never its class nor whether the call is tried again.
"""

_ENDED: Final = ("Socket closed", "reset by peer", "Endpoint closing", "Broken pipe", "SETTINGS frame")
"""The other side accepted the connection and ended it, or said nothing, before it was one of gRPC's."""

_ENDED_OVER_TLS: Final = (
    "it ended the connection, or said nothing: if it asks for the client's certificate give one that it knows, "
    "Tls(certificate=..., key=...), --tls-cert and --tls-key; or check the port"
)
_ENDED_IN_PLAINTEXT: Final = (
    "it ended the connection, or said nothing: if it speaks TLS give tls=True, --tls; or check the port"
)


def from_failure(failure: Failure) -> PruningError:
    """Return the exception of a failure that was sent in the stream."""
    code = _code(failure.code)
    return _class_of(failure.reason, code)(
        failure.message,
        reason=failure.reason or None,
        code=code,
        metadata=failure.metadata,
        violations=[Violation(violation.field, violation.description) for violation in failure.violations],
        retry_after=failure.retry_after.ToTimedelta() if failure.HasField("retry_after") else None,
    )


def from_status(
    call: "grpc.RpcError",
    target: str,
    sent_bytes: int | None = None,
    *,
    is_tls: bool = False,
    details: str | None = None,
) -> PruningError:
    """Return the exception of a call that ended with a status other than OK.

    `sent_bytes`: of the model, when it ended; None if the server had not answered before. `is_tls`: whether the
    call went over TLS. `details` replace gRPC's own message, where another says more.
    """
    code = _code(call.code().value[0])
    info, bad_request, retry = _details(call)
    if info.domain != DOMAIN:
        message = _without_reason(code, details or call.details() or "", target, sent_bytes, is_tls=is_tls)
        return _BY_CODE.get(code, InternalError)(message, code=code, metadata=_request_id(call))
    return _with_details(call.details() or info.reason, code, _request_id(call), info, bad_request, retry)


def from_rpc_status(status: "status_pb2.Status") -> PruningError:
    """Return the exception of a status that an answer contains, such as the error of a job."""
    code = _code(status.code)
    info, bad_request, retry = _unpacked(status)
    if info.domain != DOMAIN:
        return _BY_CODE.get(code, InternalError)(status.message, code=code)
    return _with_details(status.message or info.reason, code, {}, info, bad_request, retry)


def late_error(target: str, sent_bytes: int | None) -> DeadlineError:
    """Return the exception of a call that this side ends because its time is over; `sent_bytes` as in `from_status`."""
    code = StatusCode.DEADLINE_EXCEEDED
    return DeadlineError(_without_reason(code, "", target, sent_bytes, is_tls=False), code=code)


def _with_details(  # noqa: PLR0913, PLR0917 - the parts of a status
    message: str,
    code: StatusCode,
    metadata: dict[str, str],
    info: "error_details_pb2.ErrorInfo",
    bad_request: "error_details_pb2.BadRequest",
    retry: "error_details_pb2.RetryInfo",
) -> PruningError:
    return _class_of(info.reason, code)(
        message,
        reason=info.reason,
        code=code,
        metadata=metadata | dict(info.metadata),
        violations=[Violation(violation.field, violation.description) for violation in bad_request.field_violations],
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
    )


def _code(number: int) -> StatusCode:
    try:
        return StatusCode(number)
    except ValueError:
        return StatusCode.UNKNOWN


def _class_of(reason: str, code: StatusCode) -> type[PruningError]:
    try:
        return BY_FAMILY[TABLE[Reason(reason)].family]
    except ValueError:  # a reason of a newer server
        return _BY_CODE.get(code, InternalError)


def _details(
    call: Any,  # sync metadata are named tuples, grpc.aio's are bare ones
) -> "tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]":
    from google.rpc import status_pb2  # noqa: PLC0415 - for statuses only, and not in every process

    status = status_pb2.Status()
    for key, value in call.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY:
            with suppress(DecodeError):  # of a proxy: the status alone is judged
                status = status_pb2.Status.FromString(value)
    return _unpacked(status)


def _unpacked(
    status: "status_pb2.Status",
) -> "tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]":
    from google.rpc import error_details_pb2  # noqa: PLC0415 - as above

    details = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    for packed in status.details:
        with suppress(DecodeError):
            any(packed.Unpack(message) for message in details)
    return details


def _request_id(call: Any) -> dict[str, str]:
    """Return the call's name in the server's log, which is sent before anything else; nothing if no server answered."""
    ids = [str(value) for key, value in call.initial_metadata() or () if key == REQUEST_ID_KEY]
    return {"request_id": ids[0]} if ids else {}


def _without_reason(code: StatusCode, details: str, target: str, sent_bytes: int | None, *, is_tls: bool) -> str:
    if code is StatusCode.UNAVAILABLE:
        return _unavailable(details, target, sent_bytes, is_tls=is_tls)
    if code is StatusCode.UNIMPLEMENTED:
        return (
            f"what answers at {target} is not a pruning server of this version: it does not know pruning.v1 ({details})"
        )
    if code is StatusCode.DEADLINE_EXCEEDED:
        late = _NO_ANSWER if sent_bytes is None else _NOT_FINISHED
        return f"{late.format(target)} allow it more with a longer timeout"
    if code is StatusCode.UNAUTHENTICATED:
        return f"{target} does not know this caller ({details}); give a token that it accepts, token=..., --token-file"
    if code is StatusCode.PERMISSION_DENIED:
        return f"{target} knows this caller but does not let it do this ({details}); ask those who run it"
    return f"the call to {target} failed with {code.name}: {details}"


def _unavailable(details: str, target: str, sent_bytes: int | None, *, is_tls: bool) -> str:
    if sent_bytes is None:
        return f"no pruning server answers at {target} ({details}); {_advice(details, is_tls=is_tls)}"
    return (
        f"the connection to {target} broke after {sent_bytes:,} bytes of the model were sent ({details}); "
        "nothing of the result counts"
    )


def _advice(details: str, *, is_tls: bool) -> str:
    """Return what to do about a connection that was not made, from gRPC's `details`."""
    for sign, meaning in _ADVICE:
        if sign in details:
            return meaning
    if any(sign in details for sign in _ENDED):
        return _ENDED_OVER_TLS if is_tls else _ENDED_IN_PLAINTEXT
    return _NO_SERVER
