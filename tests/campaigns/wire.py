"""A connection as bytes: what a client's carries for one call is recorded, and sent again as far as one likes."""

import socket
import struct
import threading
import time
from collections.abc import Iterable

from tests.campaigns.calls import line_to

_READ_BYTES = 1 << 16


def log_call(address: str, messages: Iterable[bytes]) -> bytes:
    """Make one call through a relay; return all that the client sent: HTTP/2's preface, settings, headers, data."""
    sent = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = threading.Thread(target=_relay, args=(listener, address, sent))
        relay.start()
        with line_to(f"127.0.0.1:{listener.getsockname()[1]}") as line:
            ended = line.call(messages)
        relay.join()
    assert ended.outcome == "OK", ended.outcome
    return bytes(sent)


def torn(address: str, sent: bytes, *, after_seconds: float, reset: bool) -> None:
    """Send the bytes on a new connection, read nothing, and close it after a while: in order, or with a reset."""
    with _connected(address) as connection:
        connection.sendall(sent)
        time.sleep(after_seconds)
        if reset:  # a close without lingering is TCP's RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _relay(listener: socket.socket, address: str, sent: bytearray) -> None:
    client, _ = listener.accept()
    with client, _connected(address) as server:
        back = threading.Thread(target=_pump, args=(server, client, bytearray()))
        back.start()
        _pump(client, server, sent)
        back.join()


def _pump(source: socket.socket, target: socket.socket, copy: bytearray) -> None:
    try:
        while data := source.recv(_READ_BYTES):
            copy += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # either side has gone: so has the relay's work
        return
