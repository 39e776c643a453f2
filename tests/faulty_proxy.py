"""A proxy in front of an HTTP server that fails as networks and stores do: it cuts, delays, shortens, refuses."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

DELAY_SECONDS: Final = 0.3


class Fault(Enum):
    """What happens to one request."""

    REFUSED = "503 instead of an answer"
    DROPPED = "the connection is closed before the request is passed on"
    LOST = "the request is carried out, and the connection closed without the answer"
    CUT = "the connection is closed in the middle of the answer's body"
    SHORT = "the answer is well-formed, and has half of the body"
    DELAYED = "the answer comes later"


Choose: TypeAlias = Callable[[str, str, int], Fault | None]
"""Returns what happens to a request of a method and a path, the first of its kind being number 1."""


@dataclass
class FaultyProxy:
    """A proxy that serves; `choose` may be set at any time."""

    address: str
    choose: Choose
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        """Its address as a setting has it."""
        return f"http://{self.address}"

    def fault_of(self, method: str, path: str) -> Fault | None:
        """Return what happens to the next request, which is counted."""
        with self.lock:
            self.requests.append((method, path))
            number = self.requests.count((method, path))
        fault = self.choose(method, path, number)
        if fault is not None:
            self.faults.append(fault)
        return fault


class _Server(ThreadingHTTPServer):
    """Passes requests on to `target`, a host and a port."""

    daemon_threads = True
    proxy: FaultyProxy
    target: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def log_message(self, *_: Any) -> None:
        pass

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.fault_of(self.command, self.path)
        if fault is Fault.REFUSED:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {}, b"<Error><Code>SlowDown</Code></Error>")
        elif fault is Fault.DROPPED:
            self.close_connection = True
        else:
            self._pass_answer(*self._ask(body), fault)

    def _pass_answer(self, status: int, headers: Mapping[str, str], body: bytes, fault: Fault | None) -> None:
        half = len(body) // 2
        match fault:
            case Fault.LOST:
                self.close_connection = True
                return
            case Fault.DELAYED:
                time.sleep(DELAY_SECONDS)
            case Fault.SHORT:
                body = body[:half]
        self._answer(status, headers, body, half if fault is Fault.CUT else None)

    def _ask(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            return response.status, {name.lower(): text for name, text in response.getheaders()}, response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, cut_at: int | None = None) -> None:
        length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        kept = {name: text for name, text in headers.items() if name not in ("connection", "transfer-encoding")}
        self.send_response_only(status)
        for name, text in {**kept, "content-length": length}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body[:cut_at])
        self.close_connection = self.close_connection or cut_at is not None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server's names


@contextmanager
def faulty_proxy(target: str, choose: Choose = lambda *_: None) -> Iterator[FaultyProxy]:
    """Run a proxy in front of `target`, host:port, while inside."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.target = target
        server.proxy = FaultyProxy(f"127.0.0.1:{server.server_port}", choose)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()
