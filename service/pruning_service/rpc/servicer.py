"""The RPCs, a few lines each, and how gRPC finds them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import grpc

from pruning_proto import framing
from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.prune_call import PruneCall, Resources
from pruning_service.frames import drop_tracebacks
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.rpc.call_log import log_call
from pruning_service.rpc.capabilities import capabilities
from pruning_service.rpc.request_id import named
from pruning_service.status import Refusal, grpc_status, refusal_of

SERVICE: Final = pb.DESCRIPTOR.services_by_name["PruningService"].full_name

_log = logging.getLogger(__name__)


class PruningServicer:
    """pruning.v1.PruningService."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def Prune(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[pb.PruneRequest | memoryview], context: Any
    ) -> AsyncIterator[pb.PruneResponse | Data]:
        """Prune one checkpoint while it streams through."""
        request_id = await named(context)

        async def abort(refusal: Refusal) -> None:
            # The first ends the handler, which here is stuck in a write; the second: the client has gone meanwhile.
            with suppress(grpc.aio.AbortError, grpc.aio.InternalError):
                await context.abort_with_status(grpc_status(refusal, request_id))

        handler = asyncio.current_task()

        def reset_stream() -> None:
            if handler is not None:
                handler.cancel()  # gRPC resets the stream of a handler that ends without a status

        call = PruneCall(self._resources, requests, request_id, abort, reset_stream)
        status: grpc.Status | None = None
        try:
            with log_call(call, self._resources, context.peer()):
                async for response in call.responses():
                    yield response
        except Refusal as refusal:
            status = grpc_status(refusal, request_id)
            drop_tracebacks(refusal)
        if status is not None:
            await context.abort_with_status(status)

    async def GetCapabilities(  # noqa: N802 - the contract's name
        self, raw: bytes, context: Any
    ) -> pb.GetCapabilitiesResponse:
        """Tell what this server offers."""
        request_id = await named(context)
        try:
            reject_unknown_fields(pb.GetCapabilitiesRequest.FromString(raw))
            return capabilities(self._resources)
        except Exception as error:
            refusal = refusal_of(error, request_id)
            self._resources.metrics.refusals.labels(refusal.reason).inc()
            if refusal.reason is Reason.INTERNAL:
                _log.exception("request_id=%s failed", request_id)
            await context.abort_with_status(grpc_status(refusal, request_id))
            raise  # for the types' sake: abort_with_status does not return

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Give each method's handler; Prune has (de)serializers of its own, see pruning_proto.framing."""
        return {
            "Prune": grpc.stream_stream_rpc_method_handler(self.Prune, framing.decode_request, framing.encode),
            "GetCapabilities": grpc.unary_unary_rpc_method_handler(
                self.GetCapabilities,
                None,  # parsed by the method, so that what cannot be parsed is refused as all else is
                pb.GetCapabilitiesResponse.SerializeToString,
            ),
        }
