"""Where the bytes of a checkpoint come from and where those of its result go: a stream, a file, memory."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

Reserve: TypeAlias = Callable[[int], Awaitable[None]]
"""Reserves memory for options of a number of bytes, or refuses them. Raises: Refusal."""


class ByteSource(Protocol):
    """The bytes of one safetensors file, in order."""

    @property
    def total_bytes(self) -> int:
        """The size of the file, as announced; the source may have fewer or more."""

    async def read(self) -> memoryview | None:
        """Return the bytes that follow, at least one, valid until the next read; None at the end of the file."""


class ByteSink(Protocol):
    """Takes the bytes of a result, in order."""

    @property
    def backlog_bytes(self) -> int:
        """The most bytes that it holds by reference, once written, before `write` waits."""

    async def write(self, data: memoryview) -> None:
        """Take the bytes that follow. They stay as they are until nobody refers to them."""

    async def nearly_drained(self) -> None:
        """Wait until hardly any bytes are held."""


class TensorStore(Protocol):
    """Where the tensors of a call are, to be read again: bytes in the order in which they were received.

    `is_filled`: they are there from the beginning, before they are received.
    """

    is_filled: bool

    def append(self, tensor: memoryview) -> None:
        """Take the bytes of a tensor, which follow those of all before. Raises: OSError."""

    def read_into(self, tensor: memoryview, begin: int) -> None:
        """Fill a tensor with the bytes from `begin` on. Raises: OSError."""

    def read_ranges(self, data: memoryview, ranges: Sequence[tuple[int, int]]) -> None:
        """Fill `data` with the bytes of ranges, which ascend, one after the other. Raises: OSError."""


class RereadableSource(Protocol):
    """A source whose bytes can be had again, as those of a file can.

    `is_near`: that takes less time than to touch memory for all of them, as of a file that the system has cached.
    """

    is_near: bool

    def again(self, skipped: Sequence[tuple[int, int]]) -> TensorStore:
        """Return what follows the header as a store. `skipped`: ranges of it that are not needed and do not count."""
