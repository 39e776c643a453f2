"""Where the bytes of a checkpoint come from and where those of its result go: a stream, a file, memory."""

from collections.abc import Awaitable, Callable
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
