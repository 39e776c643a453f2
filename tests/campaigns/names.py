"""A name of several servers, as a headless Service's does in Kubernetes: a name server of one name.

It knows as much of RFC 1035 as resolvers ask of it: the address records of its name now, and of all else that there is
nothing.
"""

import ipaddress
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NAME: Final = "pruning.example"
"""Under `.example`, which nobody else has (RFC 2606)."""

_HEADER: Final = struct.Struct(">6H")
_ADDRESS, _INTERNET = 1, 1
_QUESTION_AT: Final = 0xC000 | _HEADER.size
_ANSWER: Final = 0x8580
"""Flags: an answer, by the authority, recursion asked for and given, no error."""


class Names:
    """A name server; `addresses` is what it answers from now on."""

    def __init__(self, port: int) -> None:
        self.addresses: list[str] = []
        self.port = port

    def target(self, port: int) -> str:
        """Return what to call for servers that all listen on `port`: gRPC asks this name server, and no other."""
        return f"dns://127.0.0.1:{self.port}/{NAME}:{port}"

    def answer(self, query: bytes) -> bytes:
        """Answer one question. Time to live is 0: what changes is seen at the next question."""
        number = _HEADER.unpack_from(query)[0]
        end = query.index(b"\0", _HEADER.size) + 5
        kind, network = struct.unpack_from(">HH", query, end - 4)
        is_ours = (kind, network) == (_ADDRESS, _INTERNET)
        addresses = self.addresses if is_ours else []
        records = [
            struct.pack(">HHHIH", _QUESTION_AT, _ADDRESS, _INTERNET, 0, 4) + ipaddress.IPv4Address(address).packed
            for address in addresses
        ]
        return _HEADER.pack(number, _ANSWER, 1, len(records), 0, 0) + query[_HEADER.size : end] + b"".join(records)


@contextmanager
def name_server() -> Iterator[Names]:
    """Run a name server on a free port of the loopback while inside."""

    class Datagrams(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, line = self.request
            line.sendto(names.answer(query), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Datagrams) as server:
        names = Names(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield names
        finally:
            server.shutdown()
            thread.join()
