"""A refusal as the status that a gRPC call ends with, with google.rpc's details. Source: https://google.aip.dev/193."""

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from pruning_proto.names import STATUS_DETAILS_KEY
from pruning_proto.reasons import DOMAIN
from pruning_service.status import Refusal, duration

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def grpc_status(refusal: Refusal, request_id: str) -> grpc.Status:
    """Return what `context.abort_with_status` takes: `rpc_status` in the trailer where gRPC's clients look for it."""
    status = rpc_status(refusal, request_id)
    return _Status(_CODES[refusal.code], status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),))


def rpc_status(refusal: Refusal, request_id: str) -> status_pb2.Status:
    """Return a refusal as `google.rpc.Status`."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain=DOMAIN, metadata={**refusal.metadata, "request_id": request_id}
        )
    ]
    if violations := refusal.reported_violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in violations
                ]
            )
        )
    if refusal.retry_seconds is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration(refusal.retry_seconds)))
    return status_pb2.Status(
        code=int(refusal.code), message=refusal.short_message, details=[_packed(detail) for detail in details]
    )


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
