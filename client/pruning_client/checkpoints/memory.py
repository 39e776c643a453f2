"""The bytes of a result in memory: one block of just its size, without the header."""

import mmap
from contextlib import suppress
from typing import Final

from pruning_client.calls.exchange import Exchange
from pruning_proto.framing import Data

_HUGE_PAGES: Final = getattr(mmap, "MADV_HUGEPAGE", None)


class Block:
    """Takes a result as it comes. `buffer` holds its tensors' bytes, from the page's beginning.

    The header tells the size before the first of them comes, so that nothing grows and nothing is moved. Memory that
    is touched for the first time costs more than the copy into it: pages of 2 MiB, where there are some, cost a
    fraction of that.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.buffer = memoryview(b"")
        self._exchange = exchange
        self._received = 0
        self._is_laid_out = False

    def write(self, data: Data) -> None:
        """Take the bytes that follow."""
        begin = self._received
        self._received += len(data)
        layout = self._exchange.result_layout
        if layout is None:  # all of it belongs to the header, which `exchange` keeps
            return
        if not self._is_laid_out:
            self.buffer = allocate(layout.buffer_bytes)
            self._is_laid_out = True
        body = memoryview(data)[max(layout.header_bytes - begin, 0) :]
        end = self._received - layout.header_bytes
        self.buffer[end - len(body) : end] = body


def allocate(size: int) -> memoryview:
    """Give memory that is not touched yet, and is given back when the last view of it is gone."""
    if size == 0:
        return memoryview(bytearray())
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if _HUGE_PAGES is not None:
        with suppress(OSError):  # a kernel without them
            block.madvise(_HUGE_PAGES)
    return memoryview(block)
