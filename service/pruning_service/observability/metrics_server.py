"""The metrics port: Prometheus' own application, served by one thread per connection.

prometheus_client's own server has no idle timeout. This one closes idle connections, so that scrapers which vanished
do not keep a thread and a file each.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from pruning_service.addresses import NOWHERE, host_and_port
from pruning_service.local_settings import PREFIX, SettingsError

IDLE_SECONDS: Final = 10
"""How long a connection may be idle; Prometheus itself ends a scrape after 10 s."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # as the main port's; with Python's own 5 a caller may wait for seconds
    idle_seconds: float = IDLE_SECONDS


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Request(WSGIRequestHandler):
    server: _Server

    def setup(self) -> None:
        self.request.settimeout(self.server.idle_seconds)
        super().setup()

    def handle(self) -> None:
        with suppress(OSError):  # it was idle or went away, which is not worth a line in the log
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes are routine."""


@contextmanager
def metrics_served(listen: str, registry: CollectorRegistry, idle_seconds: float = IDLE_SECONDS) -> Iterator[str]:
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
    except OSError as error:
        raise SettingsError(f"cannot serve metrics on {listen}: {error}") from error
    served.idle_seconds = idle_seconds
    with served:
        thread = Thread(target=served.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield f"{host}:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()
