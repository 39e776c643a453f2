"""Health on the main port, next to the service, and on a separate port for probes without TLS and tokens.

The separate port has threads of its own. They answer at once however busy the event loop is, and they answer
NOT_SERVING where the main port would not answer: when the loop has been blocked for HANGING_SECONDS. The port is
plaintext, because it reveals only whether the server serves.

gRPC's synchronous server gives every call a thread, from its first byte on. So that unfinished calls do not keep probes
waiting, a call that has not sent its message after MESSAGE_SECONDS is ended, or sooner if many wait, and few may watch.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from pruning_service.addresses import NOWHERE, host_and_port
from pruning_service.local_settings import PREFIX, SettingsError
from pruning_service.observability.main_health import MainHealth
from pruning_service.observability.serving_status import (
    CHECK,
    REQUEST_BYTES,
    SERVICE_NAME,
    WATCH,
    HealthRefusedError,
    ServingStatus,
    parsed,
)

HANGING_SECONDS: Final = 30.0
"""How long the event loop may be blocked before the server counts as hanging; under load it is blocked below 1 s."""

MESSAGE_SECONDS: Final = 0.5
"""How long a call may take from its first byte until its message is complete."""

UNFINISHED_CALLS: Final = 8
"""The most calls that wait for their message: a probe's comes with its metadata, so that it hardly waits."""

_HEARTBEAT_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 0.1
_THREADS: Final = 32
_WATCHERS: Final = 8
_CALLS: Final = 1000
_CONNECTIONS: Final = 128
_CALLS_OF_A_CONNECTION: Final = 16

_log = logging.getLogger(__name__)


class _Unfinished:
    """The calls whose message has not come yet. One more than UNFINISHED_CALLS ends the one that has waited longest."""

    def __init__(self) -> None:
        self._begins: dict[grpc.ServicerContext, float] = {}
        self._lock = threading.Lock()

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Wait for the message of a call. Raises: HealthRefusedError if none comes; what gRPC raises if it ends."""
        with self._lock:
            longest = next(iter(self._begins)) if len(self._begins) >= UNFINISHED_CALLS else None
            if longest is not None:
                del self._begins[longest]
            self._begins[context] = time.monotonic()
        if longest is not None:
            longest.cancel()
        try:
            raw = next(requests, None)
        finally:
            with self._lock:
                self._begins.pop(context, None)
        if raw is None:
            raise HealthRefusedError(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        return raw

    def end_late_ones(self) -> None:
        """End the calls that have waited too long."""
        now = time.monotonic()
        with self._lock:
            late = [context for context, begin in self._begins.items() if now - begin > MESSAGE_SECONDS]
        for context in late:
            context.cancel()


class HealthPort:
    """Health of a service, and of the whole server, from separate threads: NOT_SERVING until it is turned on.

    Call `beat` regularly from the event loop.

    Raises: SettingsError if it cannot listen.
    """

    def __init__(self, listen: str, service: str, hanging_seconds: float = HANGING_SECONDS) -> None:
        self._hanging_seconds = hanging_seconds
        self._is_on = False
        self._last_beat = time.monotonic()
        self._status = ServingStatus(service)
        self._unfinished = _Unfinished()
        self._watchers = threading.BoundedSemaphore(_WATCHERS)
        self._ended = threading.Event()
        self._watchdog = threading.Thread(target=self._watch_loop, name="health-watchdog", daemon=True)
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="health"),
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", REQUEST_BYTES),
                ("grpc.max_concurrent_streams", _CALLS_OF_A_CONNECTION),
                ("grpc.max_allowed_incoming_connections", _CONNECTIONS),
                ("grpc.max_connection_idle_ms", 60_000),
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", 1024),
            ),
            maximum_concurrent_rpcs=_CALLS,
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.address = self._bind(listen)
        self._server.start()
        self._watchdog.start()

    @property
    def beat_seconds(self) -> float:
        """The interval between heartbeats of the event loop."""
        return min(_HEARTBEAT_SECONDS, self._hanging_seconds / 4)

    def turn_on(self) -> None:
        """Report SERVING, as long as the event loop runs."""
        self.beat()
        self._is_on = True
        self._status.set(is_serving=True)

    def turn_off(self) -> None:
        """Report NOT_SERVING from now on."""
        self._status.turn_off()

    def beat(self) -> None:
        """Record that the event loop runs."""
        self._last_beat = time.monotonic()

    def close(self) -> None:
        """Stop serving."""
        self._ended.set()
        self._watchdog.join()
        self._server.stop(grace=None).wait()

    def _handlers(self) -> grpc.GenericRpcHandler:
        # On the wire they are unary. As streams, they begin before their message has come, and can end without it.
        write = health_pb2.HealthCheckResponse.SerializeToString
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            CHECK: grpc.stream_unary_rpc_method_handler(self._check, None, write),
            WATCH: grpc.stream_stream_rpc_method_handler(self._watch, None, write),
        }
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    def _check(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:
        try:
            return self._status.check(self._unfinished.message(requests, context))
        except HealthRefusedError as refused:
            context.abort(refused.code, str(refused))
            raise  # not reached

    def _watch(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_WATCHERS} calls watch already; use Check")
        try:
            yield from self._statuses(parsed(self._unfinished.message(requests, context)), context)
        except HealthRefusedError as refused:
            context.abort(refused.code, str(refused))
        finally:
            self._watchers.release()

    def _statuses(self, service: str, context: grpc.ServicerContext) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the status of a service whenever it changes, at first at once."""
        reported = None
        while context.is_active() and not self._ended.is_set():
            status = self._status.of(service)
            if status != reported:
                reported = status
                yield health_pb2.HealthCheckResponse(status=status)
            self._ended.wait(_WATCH_SECONDS)

    def _bind(self, listen: str) -> str:
        host, _ = host_and_port(listen, f"{PREFIX}HEALTH_LISTEN")
        try:
            return f"{host}:{self._server.add_insecure_port(listen)}"
        except RuntimeError as error:
            raise SettingsError(
                f"cannot serve health on {listen}: is the address in use, or not of this machine?"
            ) from error

    def _watch_loop(self) -> None:
        while not self._ended.wait(min(self.beat_seconds, MESSAGE_SECONDS / 2)):
            self._unfinished.end_late_ones()
            blocked_seconds = time.monotonic() - self._last_beat
            is_running = blocked_seconds < self._hanging_seconds
            if self._is_on and not self._status.is_off and is_running != self._status.is_serving:
                _log.error("event loop %s seconds=%.1f", "runs again" if is_running else "hangs", blocked_seconds)
                self._status.set(is_serving=is_running)


class Health:
    """Health on both ports, or on the main port alone. Reports SERVING between `turn_on` and `turn_off`."""

    def __init__(self, server: grpc.aio.Server, service: str, port: HealthPort | None) -> None:
        self.address = NOWHERE if port is None else port.address
        self._port = port
        self._main = MainHealth(service)
        self._main.add_to(server)

    def turn_on(self) -> None:
        """Report SERVING."""
        self._main.turn_on()
        if self._port is not None:
            self._port.turn_on()

    def turn_off(self) -> None:
        """Report NOT_SERVING until the end."""
        if self._port is not None:
            self._port.turn_off()
        self._main.turn_off()


@contextlib.asynccontextmanager
async def health_served(server: grpc.aio.Server, service: str, listen: str) -> AsyncIterator[Health]:
    """Add health to `server`, and serve it on `listen` too inside the block, unless that is `none`.

    Raises: SettingsError if it cannot.
    """
    if listen == NOWHERE:
        yield Health(server, service, None)
        return
    with contextlib.closing(HealthPort(listen, service)) as port:
        beating = asyncio.create_task(beat(port))
        try:
            yield Health(server, service, port)
        finally:
            beating.cancel()


async def beat(port: HealthPort) -> None:
    """Record every interval that the event loop runs."""
    while True:
        port.beat()
        await asyncio.sleep(port.beat_seconds)
