"""Health on the main port. The separate port is in `health.py`; both report one `ServingStatus` each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from pruning_service.observability.serving_status import (
    CHECK,
    SERVICE_NAME,
    WATCH,
    HealthRefusedError,
    ServingStatus,
    parsed,
)

WATCHERS: Final = 256
"""The most `Watch` calls under way; gRPC's clients have one for each connection, if they are configured to."""


class MainHealth:
    """grpc.health.v1.Health on an event loop. Nothing here waits for a client but the call of that client."""

    def __init__(self, service: str) -> None:
        self._status = ServingStatus(service)
        self._changed = asyncio.Event()
        self._watchers = 0

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        write = health_pb2.HealthCheckResponse.SerializeToString
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            CHECK: grpc.unary_unary_rpc_method_handler(self._check, None, write),
            WATCH: grpc.unary_stream_rpc_method_handler(self._watch, None, write),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))

    def turn_on(self) -> None:
        """Report SERVING."""
        self._status.set(is_serving=True)
        self._wake_watchers()

    def turn_off(self) -> None:
        """Report NOT_SERVING, and end the calls that watch: they would keep a server from stopping."""
        self._status.turn_off()
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _check(self, raw: bytes, context: Any) -> health_pb2.HealthCheckResponse:
        try:
            return self._status.check(raw)
        except HealthRefusedError as refused:
            await context.abort(refused.code, str(refused))
            raise  # not reached

    async def _watch(self, raw: bytes, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        if self._watchers >= WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS} calls watch already; use Check")
        self._watchers += 1
        try:
            async for status in self._statuses(parsed(raw)):
                yield health_pb2.HealthCheckResponse(status=status)
        except HealthRefusedError as refused:
            await context.abort(refused.code, str(refused))
        finally:
            self._watchers -= 1

    async def _statuses(self, service: str) -> AsyncIterator[health_pb2.HealthCheckResponse.ServingStatus]:
        """Yield the status of a service whenever it changes, at first at once, until it is turned off."""
        while True:
            changed, status = self._changed, self._status.of(service)
            yield status
            if self._status.is_off:
                return
            while self._status.of(service) == status and not self._status.is_off:
                await changed.wait()
                changed = self._changed
