"""Memory for the tensors of one call, used again from tensor to tensor.

The first touch of fresh memory costs several times what receiving into it costs, and models are made of layers of equal
size: the buffer of a tensor that has been sent is used for the next one. Large buffers come from the operating system
and are returned to it when the call ends, whatever the allocator of this process would have kept.
"""

import mmap
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from pruning_proto.limits import MIB
from pruning_service.resources.devices import pinned_memory

SMALL_BYTES: Final = MIB
"""Below this size the allocator's own memory is as good."""

_HUGE_BYTES: Final = 2 * MIB


class Buffers:
    """Buffers of one call: aligned, and returned here once nothing refers to them any more.

    Together with those that wait to be used again they take `most_bytes`, unless more are in use. `pinned`: the memory
    is page-locked, so that a GPU copies from it while the call goes on receiving; this needs torch.
    """

    def __init__(self, most_bytes: int, *, pinned: bool = False) -> None:
        self._most_bytes = most_bytes
        self._pinned = pinned
        self.held_bytes = 0
        self._lock = threading.Lock()  # results are packed into buffers on the engine's thread
        self._idle: deque[mmap.mmap] = deque()

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Return `size` bytes. Their content is arbitrary."""
        return pinned_memory(size) if self._pinned else self.take_pageable(size)

    def take_pageable(self, size: int) -> npt.NDArray[np.uint8]:
        """Return `size` bytes that are not page-locked, for what no GPU reads. From any thread."""
        if size < SMALL_BYTES:
            return np.empty(size, np.uint8)
        with self._lock:
            region = self._region(size)
        lease = np.frombuffer(region, np.uint8, size)  # kept alive by all views of it
        weakref.finalize(lease, self._idle.append, region).atexit = False
        return lease

    def _region(self, size: int) -> mmap.mmap:
        for region in list(self._idle):
            if len(region) == _mapped_bytes(size):
                self._idle.remove(region)
                return region
        while self._idle and self.held_bytes + size > self._most_bytes:
            self.held_bytes -= len(self._idle.popleft())
        self.held_bytes += _mapped_bytes(size)
        return _map(size)


def _mapped_bytes(size: int) -> int:
    """Whole huge pages: Linux aligns nothing else to them. The part beyond `size` takes no memory while untouched."""
    return -(-size // _HUGE_BYTES) * _HUGE_BYTES


def _map(size: int) -> mmap.mmap:
    region = mmap.mmap(-1, _mapped_bytes(size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    whole_pages = size // _HUGE_BYTES * _HUGE_BYTES
    if whole_pages and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            region.madvise(mmap.MADV_HUGEPAGE, 0, whole_pages)  # one fault where there would be 512
    return region
