"""A refusal as the status that a gRPC call ends with."""

from dataclasses import dataclass
from typing import Final

import grpc

from pruning_proto.names import STATUS_DETAILS_KEY
from pruning_service.status import Refusal
from pruning_service.status_details import rpc_status

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def grpc_status(refusal: Refusal, request_id: str) -> grpc.Status:
    """Return what `context.abort_with_status` takes: `rpc_status` in the trailer where gRPC's clients look for it."""
    status = rpc_status(refusal, {"request_id": request_id})
    return _Status(_CODES[refusal.code], status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),))
