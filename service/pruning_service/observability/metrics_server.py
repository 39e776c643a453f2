"""The port of the metrics: Prometheus' own application, served by threads, a connection each.

Beyond what prometheus_client serves by itself: a connection that asks for nothing is let go of, so that scrapers which
vanished do not keep a thread and a file each for good.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from pruning_service.settings import NOWHERE, PREFIX, SettingsError, host_and_port

PATIENCE_SECONDS: Final = 10
"""How long a connection may keep silent; Prometheus itself gives a scrape up after 10 s."""


class _Port(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # as the main port's; with Python's own 5 a caller may wait for seconds
    patience_seconds: float = PATIENCE_SECONDS


class _PortOfIPv6(_Port):
    address_family = socket.AF_INET6


class _Request(WSGIRequestHandler):
    server: _Port

    def setup(self) -> None:
        self.request.settimeout(self.server.patience_seconds)
        super().setup()

    def handle(self) -> None:
        with suppress(OSError):  # it kept silent, or went: nothing to tell in the log
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: scrapes are no news."""


@contextmanager
def metrics_served(
    listen: str, registry: CollectorRegistry, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[str]:
    """Serve the metrics while inside, unless `listen` is `none`; give the address.

    Raises: SettingsError if that cannot be.
    """
    if listen == NOWHERE:
        yield NOWHERE
        return
    host, port = host_and_port(listen, f"{PREFIX}METRICS_LISTEN")
    plain = host.removeprefix("[").removesuffix("]")
    kind = _PortOfIPv6 if ":" in plain else _Port
    try:
        served = make_server(plain, port, make_wsgi_app(registry), kind, _Request)
    except OSError as error:
        raise SettingsError(f"cannot serve metrics on {listen}: {error}") from error
    served.patience_seconds = patience_seconds
    with served:
        thread = Thread(target=served.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield f"{host}:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()
