"""HTTP/2 by hand, frame by frame: a client that no library would be."""

import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8
END_HEADERS, END_STREAM, ACK = 0x4, 0x1, 0x1
INITIAL_WINDOW_SIZE = 4
FRAME_BYTES = 16 * 1024


@dataclass
class Connection:
    """A connection that says what it likes, within the windows that the server grants."""

    line: socket.socket
    sending: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Condition = field(default_factory=threading.Condition)
    windows: dict[int, int] = field(default_factory=lambda: {0: 65535})
    initial_window: int = 65535
    ended: set[int] = field(default_factory=set)
    is_over: bool = False

    def send(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        """Send one frame."""
        head = struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream)
        with self.sending:
            self.line.sendall(head + content)

    def begin(self, path: str, address: str, stream: int = 1) -> None:
        """Send the headers of a call."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        self.windows.setdefault(stream, self.initial_window)
        self.send(HEADERS, END_HEADERS, stream, b"".join(_field(*each) for each in fields.items()))

    def send_data(self, stream: int, content: bytes, patience_seconds: float) -> None:
        """Send as much of a call's data as the server takes while it grants some within `patience_seconds`."""
        left = memoryview(content)
        with suppress(OSError):
            while left and (size := self._granted(stream, len(left), patience_seconds)):
                self.send(DATA, 0, stream, bytes(left[:size]))
                left = left[size:]

    def _granted(self, stream: int, wanted: int, patience_seconds: float) -> int:
        with self.changed:
            self.changed.wait_for(
                lambda: self.is_over or stream in self.ended or min(self.windows[0], self.windows[stream]) > 0,
                patience_seconds,
            )
            if self.is_over or stream in self.ended:
                return 0
            size = max(0, min(wanted, FRAME_BYTES, self.windows[0], self.windows[stream]))
            self.windows[0] -= size
            self.windows[stream] -= size
            return size

    def read_on(self) -> None:
        """Follow what the server sends, until it closes the connection."""
        with suppress(OSError, EOFError):
            while True:
                self._take(*self._frame())
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def _frame(self) -> tuple[int, int, int, bytes]:
        head = self._exactly(9)
        return head[3], head[4], int.from_bytes(head[5:], "big"), self._exactly(int.from_bytes(head[:3], "big"))

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.line.recv(count - len(content))
            if not piece:
                raise EOFError
            content += piece
        return content

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        with self.changed:
            match kind:
                case _ if kind == SETTINGS and not flags & ACK:
                    self._settle(content)
                    self.send(SETTINGS, ACK, 0, b"")
                case _ if kind == WINDOW_UPDATE:
                    self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(content, "big")
                case _ if kind == PING and not flags & ACK:
                    self.send(PING, ACK, 0, content)
                case _ if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                    self.ended.add(stream)
            self.changed.notify_all()

    def _settle(self, content: bytes) -> None:
        for key, value in struct.iter_unpack(">HI", content):
            if key == INITIAL_WINDOW_SIZE:
                for stream in self.windows.keys() - {0}:
                    self.windows[stream] += value - self.initial_window
                self.initial_window = value


@contextmanager
def windowless_call(address: str, path: str, message: bytes) -> Iterator[None]:
    """Make a call, send one message and half-close, with a window of 0: the server may answer nothing but headers."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        connection = Connection(line)
        line.sendall(PREFACE)
        connection.send(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
        connection.begin(path, address)
        connection.send(DATA, END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
        yield


@contextmanager
def unfinished_calls(address: str, paths: Iterable[str], message: bytes, repeat: int = 1) -> Iterator[None]:
    """Make a call of each path, on a connection of its own, and send a message in it but for the last byte.

    `repeat`: how many times the whole message is sent before that.
    """
    content = struct.pack(">BI", 0, len(message)) + message
    host, _, port = address.rpartition(":")
    lines = []
    senders = []
    for path in paths:
        line = socket.create_connection((host, int(port)), timeout=30)
        lines.append(line)
        connection = Connection(line)
        line.sendall(PREFACE)
        connection.send(SETTINGS, 0, 0, b"")
        threading.Thread(target=connection.read_on, daemon=True).start()
        connection.begin(path, address)
        senders.append(
            threading.Thread(target=connection.send_data, args=(1, content * repeat + content[:-1], 1.0), daemon=True)
        )
    try:
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(30)
        yield
    finally:
        for line in lines:
            line.shutdown(socket.SHUT_RDWR)
            line.close()


def _field(name: str, value: str) -> bytes:
    """Return a header field, a literal that no table keeps. Source: RFC 7541, section 6.2.2."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))
