"""Health on the main port, next to the service, and on a separate port for probes without TLS and tokens.

The separate port has threads of its own. They answer at once however busy the event loop is, and they answer
NOT_SERVING where the main port would not answer: when the loop has been blocked for HANGING_SECONDS. The port is
plaintext, because it reveals only whether the server serves.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from pruning_service.addresses import NOWHERE, host_and_port
from pruning_service.local_settings import PREFIX, SettingsError

HANGING_SECONDS: Final = 30.0
"""How long the event loop may be blocked before the server counts as hanging; under load it is blocked below 1 s."""

_HEARTBEAT_SECONDS: Final = 1.0
_THREADS: Final = 2
_REQUEST_BYTES: Final = 4096
_CALLS: Final = 100
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

_log = logging.getLogger(__name__)


class HealthPort:
    """Health of a service, and of the whole server, from separate threads: NOT_SERVING until it is turned on.

    Call `beat` regularly from the event loop.

    Raises: SettingsError if it cannot listen.
    """

    def __init__(self, listen: str, service: str, hanging_seconds: float = HANGING_SECONDS) -> None:
        self._services = (service, health.OVERALL_HEALTH)
        self._hanging_seconds = hanging_seconds
        self._is_on = False
        self._is_serving = True
        self._last_beat = time.monotonic()
        self._status = health.HealthServicer()
        self._set_status(is_serving=False)
        self._ended = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="health-watchdog", daemon=True)
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="health"),
            options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _REQUEST_BYTES)),
            maximum_concurrent_rpcs=_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._status, self._server)
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
        self._set_status(is_serving=True)

    def turn_off(self) -> None:
        """Report NOT_SERVING from now on."""
        self._status.enter_graceful_shutdown()

    def beat(self) -> None:
        """Record that the event loop runs."""
        self._last_beat = time.monotonic()

    def close(self) -> None:
        """Stop serving."""
        self._ended.set()
        self._watchdog.join()
        self._server.stop(grace=None).wait()

    def _bind(self, listen: str) -> str:
        host, _ = host_and_port(listen, f"{PREFIX}HEALTH_LISTEN")
        try:
            return f"{host}:{self._server.add_insecure_port(listen)}"
        except RuntimeError as error:
            raise SettingsError(
                f"cannot serve health on {listen}: is the address in use, or not of this machine?"
            ) from error

    def _watch(self) -> None:
        while not self._ended.wait(self.beat_seconds):
            blocked_seconds = time.monotonic() - self._last_beat
            is_running = blocked_seconds < self._hanging_seconds
            if self._is_on and is_running != self._is_serving:
                _log.error("event loop %s seconds=%.1f", "runs again" if is_running else "hangs", blocked_seconds)
                self._set_status(is_serving=is_running)

    def _set_status(self, *, is_serving: bool) -> None:
        self._is_serving = is_serving
        for service in self._services:
            self._status.set(service, _SERVING if is_serving else _NOT_SERVING)


class Health:
    """Health on both ports, or on the main port alone. Reports SERVING between `turn_on` and `turn_off`."""

    def __init__(self, server: grpc.aio.Server, service: str, port: HealthPort | None) -> None:
        self.address = NOWHERE if port is None else port.address
        self._service = service
        self._port = port
        self._status = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._status, server)

    async def turn_on(self) -> None:
        """Report SERVING."""
        await self._status.set(self._service, _SERVING)
        if self._port is not None:
            self._port.turn_on()

    async def turn_off(self) -> None:
        """Report NOT_SERVING until the end."""
        if self._port is not None:
            self._port.turn_off()
        await self._status.enter_graceful_shutdown()


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
