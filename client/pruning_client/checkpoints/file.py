"""A checkpoint that can be sent: a safetensors header and its buffer in pieces. Here: a file."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import IO, BinaryIO, Final, Protocol, TypeAlias

from pruning_client.checkpoints.byte_ranges import ByteRanges, ranges_within
from pruning_client.checkpoints.other_formats import READ_BYTES, description_of
from pruning_client.errors import CheckpointError, layout_error
from pruning_client.frameworks.base import Framework
from pruning_proto.limits import CHUNK_BYTES, HEADER_BYTES_CEILING
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.distributed import check_not_sharded
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, json_bytes, parse
from pruning_proto.spans import spans

Part: TypeAlias = Callable[[int, int], memoryview]
"""Returns bytes of a buffer, from one offset to another, counted as a TensorEntry counts them."""


class Source(Protocol):
    """A checkpoint that can be sent, and sent again."""

    @property
    def header(self) -> bytes:
        """The header's bytes, the 8-byte prefix included."""

    @property
    def layout(self) -> Layout:
        """What the header says."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names of tied tensors, each with the name under which the tensor is sent."""

    @property
    def names(self) -> Sequence[str]:
        """All names in the caller's order; empty if that is the layout's order."""

    @property
    def framework(self) -> Framework | None:
        """The adaptor of the tensors, for the result; None for files."""

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffer from its beginning, or these ranges of it, in pieces of any size.

        What is not in the ranges is not read. Use each piece before asking for the next.
        """


class FileSource:
    """A safetensors file; one piece of its buffer at a time is in memory.

    It is read and not memory-mapped: a mapped file that another process truncates would end this one with a signal.
    Raises: OSError if it cannot be read. CheckpointError if its header is not valid or the file is not as long as the
    header says.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = fspath(path)
        check_regular(Path(path))
        with Path(path).open("rb") as file:
            self._version = _version(file)
            self.header, self.layout = self._read_header(file)
        self._check_size(self._version[-1])

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffer, or these ranges of it, in pieces, all in the same memory.

        Raises: OSError. CheckpointError if the file has changed since its header was read.
        """
        whole = ((0, self.layout.buffer_bytes),)
        with self.reading() as part:
            for begin, end in whole if ranges is None else ranges:
                for piece_begin, piece_end in spans(end - begin, CHUNK_BYTES):
                    yield part(begin + piece_begin, begin + piece_end)

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Return bytes of the buffer, counted as a TensorEntry counts them, in pieces, all in the same memory.

        Raises: OSError. CheckpointError if the file has changed since its header was read.
        """
        return self.pieces(((begin, end),))

    @contextmanager
    def reading(self) -> Iterator[Part]:
        """Return a function that reads parts of the buffer, while inside; each reuses the memory of the one before.

        Raises: OSError. CheckpointError, also while reading, if the file has changed since its header was read.
        """
        block = memoryview(b"")
        with Path(self.path).open("rb", buffering=0) as file:
            if _version(file) != self._version:
                raise self._changed()

            def part(begin: int, end: int) -> memoryview:
                nonlocal block
                if len(block) < end - begin:
                    block = memoryview(bytearray(end - begin))
                piece = block[: end - begin]
                file.seek(self.layout.header_bytes + begin)
                if _fill(file, piece) < len(piece):
                    raise self._changed()
                return piece

            yield part

    def check_not_sharded(self) -> None:
        """Refuse a file that may hold slices of tensors. Raises: CheckpointError."""
        try:
            check_not_sharded(self.layout.metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def _read_header(self, file: BinaryIO) -> tuple[bytes, Layout]:
        beginning = file.read(READ_BYTES)
        self._check_beginning(beginning)
        prefix = beginning[:PREFIX_BYTES]
        try:
            length = json_bytes(prefix)
            file.seek(PREFIX_BYTES)
            text = file.read(length)
            if len(text) < length:
                raise LayoutError(
                    Reason.TRUNCATED, f"the header claims {length:,} bytes, but only {len(text):,} follow"
                )
            return prefix + text, parse(text)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def _check_beginning(self, beginning: bytes) -> None:
        length = int.from_bytes(beginning[:PREFIX_BYTES], "little")  # one of 640 bytes begins as a pickle does: 80 02
        known = description_of(beginning) if length > HEADER_BYTES_CEILING else None
        if known is not None:
            raise self._error(Reason.INVALID_HEADER, known)
        if len(beginning) < PREFIX_BYTES:
            raise self._error(Reason.TRUNCATED, f"{len(beginning)} bytes are not a safetensors file")

    def _check_size(self, file_bytes: int) -> None:
        expected = self.layout.total_bytes
        if file_bytes != expected:
            reason = Reason.TRUNCATED if file_bytes < expected else Reason.OVERLONG
            raise self._error(reason, f"the header describes {expected:,} bytes, the file has {file_bytes:,}")

    def _changed(self) -> CheckpointError:
        return self._error(Reason.TRUNCATED, "the file was changed while it was read; try again when nothing writes it")

    def _error(self, reason: Reason, description: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {description}", reason=reason)


def pieces_of_all(sources: Iterable[Source], ranges: ByteRanges | None) -> Iterator[memoryview]:
    """Return the buffers of several sources, one after the other, or these ranges of them, in pieces."""
    begin = 0
    for source in sources:
        end = begin + source.layout.buffer_bytes
        if ranges is None:
            yield from source.pieces()
        elif own := ranges_within(ranges, begin, end):
            yield from source.pieces(own)
        begin = end


def check_regular(path: Path) -> None:
    """Refuse what cannot be read twice, before opening it could block for ever. Raises: OSError."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a regular file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file; it is read more than once, so give a file", str(path))


def _version(file: IO[bytes]) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written: its identity, time and, last, its size."""
    state = os.fstat(file.fileno())
    return (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)


def _fill(file: FileIO, piece: memoryview) -> int:
    """Read until `piece` is full or the file ends: one read returns at most 2 GiB, and less when interrupted."""
    filled = 0
    while filled < len(piece) and (count := file.readinto(piece[filled:])):
        filled += count
    return filled
