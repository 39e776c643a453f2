"""A refusal as `google.rpc.Status`, with google.rpc's details: what a call ends with, and what a job does.

Source: https://google.aip.dev/193.
"""

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from pruning_proto.reasons import DOMAIN
from pruning_service.status import Refusal, duration


def rpc_status(refusal: Refusal, metadata: dict[str, str]) -> status_pb2.Status:
    """Return a refusal as `google.rpc.Status`; `metadata` is added to its own."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata={**refusal.metadata, **metadata})
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
