"""HTTP/2 by hand, frame by frame: a client that no library would be."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0x0, 0x1, 0x4
END_HEADERS, END_STREAM = 0x4, 0x1
INITIAL_WINDOW_SIZE = 4


@dataclass
class Connection:
    """A connection that says what it likes."""

    line: socket.socket

    def send(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        """Send one frame."""
        head = struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream)
        self.line.sendall(head + content)


@contextmanager
def windowless_call(address: str, path: str, message: bytes) -> Iterator[None]:
    """Make a call, send one message and half-close, with a window of 0: the server may answer nothing but headers."""
    host, _, port = address.rpartition(":")
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    with socket.create_connection((host, int(port)), timeout=30) as line:
        connection = Connection(line)
        line.sendall(PREFACE)
        connection.send(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
        connection.send(HEADERS, END_HEADERS, 1, b"".join(_field(*each) for each in fields.items()))
        connection.send(DATA, END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
        yield


def _field(name: str, value: str) -> bytes:
    """Return a header field, a literal that no table keeps. Source: RFC 7541, section 6.2.2."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))
