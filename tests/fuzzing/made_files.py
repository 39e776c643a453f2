"""Safetensors files made of a fuzzer's bytes, so that most of them have a valid header and faults are in what it says.

    key=value           a line of metadata
    name|dtype|2,3      a tensor
                        an empty line, and what follows are the tensors' bytes

A line that is neither is left out. Headers themselves are fuzzed by `header`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pruning_client.checkpoints.byte_ranges import ByteRanges
from pruning_client.checkpoints.readable import Part
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import LayoutError, build, tensor_bytes

NAME = "made.safetensors"

MOST_PADDED = 1 << 16
"""Bytes up to which a buffer is made as long as the header says; a longer one is missing."""

Spec = tuple[str, str, tuple[int, ...]]


@dataclass(frozen=True)
class InMemory:
    """A file in memory, and the place that has this file only: a `ReadableFile`, and `Files`."""

    content: bytes
    name: str = NAME

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.content)

    def open(self, path: Path) -> "InMemory":  # noqa: ARG002 - every path is this file's
        """Return the file, whatever its path."""
        return self

    def reading(self) -> AbstractContextManager[Part]:
        """Return a function that reads parts."""
        return nullcontext(lambda begin, end: memoryview(self.content[begin:end]))

    def pieces(self, ranges: ByteRanges) -> Iterator[memoryview]:
        """Return these ranges, each in one piece."""
        return (memoryview(self.content[begin:end]) for begin, end in ranges)


def file_of(data: bytes) -> bytes | None:
    """Return the file that the bytes describe; None if it cannot have a header."""
    text, _, buffer = data.partition(b"\n\n")
    metadata: dict[str, str] = {}
    tensors: list[Spec] = []
    for line in text.decode("utf-8", errors="replace").split("\n"):
        if spec := _spec_of(line):
            tensors.append(spec)
        elif "=" in line:
            key, _, value = line.partition("=")
            metadata[key] = value
    try:
        header, layout = build(tensors, metadata)
    except LayoutError:
        return None
    size = layout.buffer_bytes
    return header + (buffer[:size].ljust(size, b"\0") if size <= MOST_PADDED else buffer)


def _spec_of(line: str) -> Spec | None:
    name, _, described = line.rpartition("|")
    name, _, dtype = name.rpartition("|")
    sizes = [size for size in described.split(",") if size]
    if dtype not in DTYPE_BITS or not all(size.isascii() and size.isdigit() and len(size) < 20 for size in sizes):
        return None
    shape = tuple(map(int, sizes))
    try:
        tensor_bytes(dtype, shape)
    except LayoutError:
        return None
    return name, dtype, shape
