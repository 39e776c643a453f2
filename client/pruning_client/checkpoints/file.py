"""A checkpoint that can be sent: a safetensors header and its buffer in pieces. Here: a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from pruning_client.checkpoints.byte_ranges import ByteRanges, ranges_within
from pruning_client.checkpoints.other_formats import READ_BYTES, description_of
from pruning_client.checkpoints.readable import DISK, Files, Part
from pruning_client.checkpoints.stretches import Stretch
from pruning_client.errors import CheckpointError, layout_error
from pruning_client.frameworks.base import Framework
from pruning_proto.limits import HEADER_BYTES_CEILING
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.distributed import check_not_sharded
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, json_bytes, parse


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

    Raises: OSError if it cannot be read. CheckpointError if its header is not valid or the file is not as long as the
    header says.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, path: str | PathLike[str], files: Files = DISK) -> None:
        self._file = files.open(Path(path))
        self.path: Final = self._file.name
        self.header, self.layout = self._read_header()
        self._check_size()

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffer, or these ranges of it, in pieces, each of which may be in the memory of the one before.

        Raises: OSError. CheckpointError if the file has changed since its header was read.
        """
        whole = ((0, self.layout.buffer_bytes),)
        shift = self.layout.header_bytes
        return self._file.pieces([(shift + begin, shift + end) for begin, end in (whole if ranges is None else ranges)])

    def stretches(self) -> Iterator[Stretch]:
        """Yield where the bytes of the buffer are, in order."""
        yield Stretch(self.layout.buffer_bytes, self._file, self.layout.header_bytes)

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Return bytes of the buffer, counted as a TensorEntry counts them, in pieces, as `pieces` does.

        Raises: OSError. CheckpointError if the file has changed since its header was read.
        """
        return self.pieces(((begin, end),))

    @contextmanager
    def reading(self) -> Iterator[Part]:
        """Return a function that reads parts of the buffer, while inside; each may reuse the memory of the one before.

        Raises: OSError. CheckpointError, also while reading, if the file has changed since its header was read.
        """
        shift = self.layout.header_bytes
        with self._file.reading() as part:
            yield lambda begin, end: part(shift + begin, shift + end)

    def check_not_sharded(self) -> None:
        """Refuse a file that may hold slices of tensors. Raises: CheckpointError."""
        try:
            check_not_sharded(self.layout.metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def _read_header(self) -> tuple[bytes, Layout]:
        with self._file.reading() as part:
            beginning = bytes(part(0, min(READ_BYTES, self._file.size)))
            self._check_beginning(beginning)
            try:
                length = json_bytes(beginning[:PREFIX_BYTES])
                if (following := self._file.size - PREFIX_BYTES) < length:
                    raise LayoutError(
                        Reason.TRUNCATED, f"the header claims {length:,} bytes, but only {following:,} follow"
                    )
                header = bytes(part(0, PREFIX_BYTES + length))
                return header, parse(header[PREFIX_BYTES:])
            except LayoutError as error:
                raise layout_error(error, self.path) from error

    def _check_beginning(self, beginning: bytes) -> None:
        length = int.from_bytes(beginning[:PREFIX_BYTES], "little")  # one of 640 bytes begins as a pickle does: 80 02
        known = description_of(beginning) if length > HEADER_BYTES_CEILING else None
        if known is not None:
            raise self._error(Reason.INVALID_HEADER, known)
        if len(beginning) < PREFIX_BYTES:
            raise self._error(Reason.TRUNCATED, f"{len(beginning)} bytes are not a safetensors file")

    def _check_size(self) -> None:
        expected, actual = self.layout.total_bytes, self._file.size
        if actual != expected:
            reason = Reason.TRUNCATED if actual < expected else Reason.OVERLONG
            raise self._error(reason, f"the header describes {expected:,} bytes, the file has {actual:,}")

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
