"""One tensor of statistics: a dtype, a shape, and bytes that are in memory or in a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pruning_proto.safetensors.header import tensor_bytes


@dataclass(frozen=True, slots=True)
class StatisticsTensor:
    """A tensor whose bytes are read when they are needed, in C order, little endian.

    `dtype` is the name that the safetensors format has for it: "F64".
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Iterator[memoryview]]

    @property
    def size_bytes(self) -> int:
        """Bytes of its entries."""
        return tensor_bytes(self.dtype, self.shape)

    def pieces(self) -> Iterator[memoryview]:
        """Return the bytes in pieces. Use each before asking for the next: they may share their memory."""
        return self.read()

    def data(self) -> memoryview:
        """Return all bytes, in writable memory of their own. Raises: OSError, CheckpointError if a file changed."""
        data = bytearray()
        for piece in self.pieces():
            data += piece
        return memoryview(data)


def in_memory(dtype: str, shape: tuple[int, ...], data: memoryview) -> StatisticsTensor:
    """Return a tensor over bytes in memory."""
    return StatisticsTensor(dtype, shape, lambda: iter((data,)))


def stacked(parts: Sequence[StatisticsTensor]) -> StatisticsTensor:
    """Return tensors of one dtype and shape as one with a new first dim. Nothing is copied."""
    shape = (len(parts), *parts[0].shape)
    return StatisticsTensor(parts[0].dtype, shape, lambda: chain.from_iterable(part.pieces() for part in parts))
