"""Health: on the main port, beside the service; and on a port of its own, for probes that know neither TLS nor tokens.

The second is served by threads of its own. However busy the event loop is, they answer at once; and they say
NOT_SERVING where the main port would say nothing: when the loop has stood still for HANGING_SECONDS. It is in the
clear, for it tells whether the server serves and no more.
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

from pruning_service.settings import NOWHERE, PREFIX, SettingsError, host_and_port

HANGING_SECONDS: Final = 30.0
"""How long the event loop may stand still before the server counts as hanging; in use its pauses are below 1 s."""

_BEAT_SECONDS: Final = 1.0
_THREADS: Final = 2
_REQUEST_BYTES: Final = 4096
_CALLS: Final = 100
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

_log = logging.getLogger(__name__)


class HealthPort:
    """Health of a service, and of the whole, from threads of its own: NOT_SERVING until it is turned on.

    `beat` tells it that the event loop runs.

    Raises: SettingsError if it cannot listen.
    """

    def __init__(self, listen: str, service: str, hanging_seconds: float = HANGING_SECONDS) -> None:
        self._services = (service, health.OVERALL_HEALTH)
        self._hanging_seconds = hanging_seconds
        self._is_on = False
        self._is_serving = True  # so that the first word is said
        self._beaten_at = time.monotonic()
        self._status = health.HealthServicer()
        self._tell(is_serving=False)
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
        """How often the event loop is to beat."""
        return min(_BEAT_SECONDS, self._hanging_seconds / 4)

    def turn_on(self) -> None:
        """Say SERVING, while the event loop runs."""
        self.beat()
        self._is_on = True
        self._tell(is_serving=True)

    def turn_off(self) -> None:
        """Say NOT_SERVING from now on."""
        self._status.enter_graceful_shutdown()

    def beat(self) -> None:
        """Take it that the event loop runs."""
        self._beaten_at = time.monotonic()

    def close(self) -> None:
        """Serve no more."""
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
            still_seconds = time.monotonic() - self._beaten_at
            is_running = still_seconds < self._hanging_seconds
            if self._is_on and is_running != self._is_serving:
                _log.error("event loop %s seconds=%.1f", "runs again" if is_running else "hangs", still_seconds)
                self._tell(is_serving=is_running)

    def _tell(self, *, is_serving: bool) -> None:
        self._is_serving = is_serving
        for service in self._services:
            self._status.set(service, _SERVING if is_serving else _NOT_SERVING)


class Health:
    """Both of them, or the main port's alone. Says SERVING between `turn_on` and `turn_off`."""

    def __init__(self, server: grpc.aio.Server, service: str, port: HealthPort | None) -> None:
        self.address = NOWHERE if port is None else port.address
        self._service = service
        self._port = port
        self._status = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._status, server)

    async def turn_on(self) -> None:
        """Say that the server serves."""
        await self._status.set(self._service, _SERVING)
        if self._port is not None:
            self._port.turn_on()

    async def turn_off(self) -> None:
        """Say for good that it does not."""
        if self._port is not None:
            self._port.turn_off()
        await self._status.enter_graceful_shutdown()


@contextlib.asynccontextmanager
async def health_served(server: grpc.aio.Server, service: str, listen: str) -> AsyncIterator[Health]:
    """Add health to `server`, and serve it on `listen` too while inside, unless that is `none`.

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
    """Tell a port that the event loop runs, as long as it does."""
    while True:
        port.beat()
        await asyncio.sleep(port.beat_seconds)
