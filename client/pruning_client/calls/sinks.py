"""Where the bytes of a result go: into memory, or nowhere. A file is a sink too, see `checkpoints.atomic_file`."""

from typing import Protocol

from pruning_client.calls.exchange import Exchange
from pruning_client.checkpoints.memory import allocate
from pruning_client.errors import ProtocolError
from pruning_proto.framing import Data


class Sink(Protocol):
    """Takes the bytes of a result, in order."""

    def write(self, data: Data) -> object:
        """Append bytes."""


class MemorySink:
    """Keeps a result in one block of memory. `buffer` holds its tensors' bytes, from the beginning of a page.

    The header is received first and has the size, so that nothing grows and nothing is moved.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.buffer = memoryview(b"")
        self._exchange = exchange
        self._received = 0
        self._is_allocated = False

    def write(self, data: Data) -> None:
        """Append bytes."""
        begin = self._received
        self._received += len(data)
        layout = self._exchange.result_layout
        if layout is None:  # all of it belongs to the header, which `exchange` keeps
            return
        if not self._is_allocated:
            self.buffer = allocate(layout.buffer_bytes)
            self._is_allocated = True
        body = memoryview(data)[max(layout.header_bytes - begin, 0) :]
        end = self._received - layout.header_bytes
        self.buffer[end - len(body) : end] = body


class NoResultSink:
    """Refuses the bytes of a result that was not asked for; `Exchange` refuses them before they come here."""

    def write(self, data: Data) -> None:
        """Refuse them. Raises: ProtocolError."""
        raise ProtocolError(f"the server sent {len(data)} bytes of a result that was not asked for")
