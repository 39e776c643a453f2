"""The RPCs: grpc.aio's contexts on one side, calls that know no gRPC on the other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from pruning_proto import framing
from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.prune_call import CallResources
from pruning_service.calls.served_call import ServedCall
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.observability.metrics import Metrics
from pruning_service.rpc.call_log import Context, log_call, log_capabilities, new_request_id, send_request_id
from pruning_service.rpc.grpc_status import grpc_status
from pruning_service.rpc.received_messages import ReceivedMessages
from pruning_service.status import Refusal, drop_tracebacks, refusal_of
from pruning_service.streams.request_stream import RequestStream
from pruning_service.streams.response_stream import ResponseStream

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How long a call waits for its client, and what it holds for it."""

    idle_seconds: float
    min_bytes_per_second: int
    backlog_bytes: int


class PruningServicer:
    """pruning.v1.PruningService. `running` are the Prune calls under way."""

    def __init__(
        self,
        resources: CallResources,
        limits: StreamLimits,
        metrics: Metrics,
        capabilities: Callable[[], pb.GetCapabilitiesResponse],
    ) -> None:
        self.running: set[ServedCall] = set()
        self._resources = resources
        self._limits = limits
        self._metrics = metrics
        self._capabilities = capabilities

    async def Prune(  # noqa: N802 - the contract's name
        self, _: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[pb.PruneResponse | Data]:
        """Prune one checkpoint while it streams through. It is one of `running` before it waits for anything."""
        request_id = new_request_id()
        served = self._served(context, request_id)
        with log_call(served, self._metrics, context.peer()):
            greeting = send_request_id(context, request_id)
            async with aclosing(served.responses(self.running, greeting)) as responses:
                async for response in responses:
                    yield response
        refusal = served.call.refusal
        if refusal is not None:
            drop_tracebacks(refusal)
            await context.abort_with_status(grpc_status(refusal, request_id))

    def _served(self, context: Context, request_id: str) -> ServedCall:
        limits = self._limits
        return ServedCall(
            RequestStream(ReceivedMessages(context), limits.idle_seconds, limits.min_bytes_per_second),
            ResponseStream(limits.backlog_bytes, limits.idle_seconds, limits.min_bytes_per_second),
            _EarlyEnd(context, request_id),
            request_id,
            self._resources,
        )

    async def GetCapabilities(  # noqa: N802 - the contract's name
        self, raw: bytes, context: Context
    ) -> pb.GetCapabilitiesResponse:
        """Return what this server offers."""
        request_id = new_request_id()
        await send_request_id(context, request_id)
        outcome: str = "CANCELLED"
        try:
            reject_unknown_fields(pb.GetCapabilitiesRequest.FromString(raw))
            offered = self._capabilities()
            outcome = "OK"
            return offered
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is sent a reason
            refusal = refusal_of(error, request_id)
            outcome = refusal.reason
            self._metrics.refusals.labels(refusal.reason).inc()
            if refusal.reason is Reason.INTERNAL:
                _log.exception("request_id=%s failed", request_id)
            await context.abort_with_status(grpc_status(refusal, request_id))
        finally:
            log_capabilities(request_id, context.peer(), outcome)

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return each method's handler. gRPC parses nothing: it would on the event loop, whatever a message costs."""
        return {
            "Prune": grpc.stream_stream_rpc_method_handler(self.Prune, None, framing.encode),
            "GetCapabilities": grpc.unary_unary_rpc_method_handler(
                self.GetCapabilities,
                None,  # parsed by the method, so that what cannot be parsed is refused as all else is
                pb.GetCapabilitiesResponse.SerializeToString,
            ),
        }


class _EarlyEnd:
    """Ends a call from beside its handler, which waits in a write. To be made in the handler's task."""

    def __init__(self, context: Context, request_id: str) -> None:
        self._context = context
        self._request_id = request_id
        self._handler = asyncio.current_task()

    async def send_status(self, refusal: Refusal) -> None:
        """End the call with a status; the handler then ends by itself."""
        # The first is how gRPC ends whoever aborts a call; the second: the client has gone meanwhile.
        with suppress(grpc.aio.AbortError, grpc.aio.InternalError):
            await self._context.abort_with_status(grpc_status(refusal, self._request_id))

    def reset(self) -> None:
        """End the call without a status: gRPC resets the stream of a handler that ends without one."""
        if self._handler is not None:
            self._handler.cancel()
