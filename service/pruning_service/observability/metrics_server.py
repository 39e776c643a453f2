"""The metrics port: Prometheus' own application, served by one thread per connection, a few at a time.

prometheus_client's own server has neither limits nor deadlines. Here a connection has a deadline for its whole request,
however slowly it goes, and when there are many, the oldest one is closed: nobody can keep the others waiting.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from pruning_service.addresses import NOWHERE, host_and_port
from pruning_service.local_settings import PREFIX, SettingsError

REQUEST_SECONDS: Final = 10
"""How long a connection may take, idle or not; Prometheus itself ends a scrape after 10 s."""

CONNECTIONS: Final = 16
"""The most connections, and so the most threads; Prometheus opens one for each scrape."""

_RETRY_SECONDS: Final = 0.1
"""How long nothing is accepted after that failed, mostly for lack of descriptors: trying at once is a busy loop."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # as the main port's; with Python's own 5 a caller may wait for seconds
    request_seconds: float = REQUEST_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: dict[Any, threading.Timer] = {}
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_RETRY_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        deadline = threading.Timer(self.request_seconds, _hang_up, [request])
        deadline.daemon = True
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            if oldest is not None:
                self._open.pop(oldest).cancel()
            self._open[request] = deadline
        if oldest is not None:
            _hang_up(oldest)
        deadline.start()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            deadline = self._open.pop(request, None)
        if deadline is not None:
            deadline.cancel()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: connections that fail are not worth a traceback in the log."""


def _hang_up(request: socket.socket) -> None:
    """End a connection under its thread, whose next read or write then fails."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Request(WSGIRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):  # its time was over or it went away, which is not worth a line in the log
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes are routine."""


@contextmanager
def metrics_served(listen: str, registry: CollectorRegistry, request_seconds: float = REQUEST_SECONDS) -> Iterator[str]:
    """Serve the metrics inside the block, unless `listen` is `none`; yield the address.

    Raises: SettingsError if it cannot listen.
    """
    if listen == NOWHERE:
        yield NOWHERE
        return
    host, port = host_and_port(listen, f"{PREFIX}METRICS_LISTEN")
    plain = host.removeprefix("[").removesuffix("]")
    kind = _ServerOnIPv6 if ":" in plain else _Server
    try:
        served = make_server(plain, port, make_wsgi_app(registry), kind, _Request)
    except (OSError, UnicodeError) as error:  # the latter of a host that no name service takes
        raise SettingsError(f"cannot serve metrics on {listen}: {error}") from error
    served.request_seconds = request_seconds
    with served:
        thread = Thread(target=served.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield f"{host}:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()
