"""Packed files read as the dense checkpoints that they were made from.

The format is `pruning_proto.packed.format`'s. In memory are a few pieces, and the mask of one tensor. Reading needs
numpy, which is imported when a file is read; the header alone (`contents_of`) does not. `files.pack` writes such files.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Final, Protocol

from pruning_client.checkpoints.byte_ranges import ByteRanges, parts_within
from pruning_client.checkpoints.file import Source
from pruning_client.checkpoints.memory import allocate
from pruning_client.checkpoints.readable import Part
from pruning_client.errors import PruningError, layout_error
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.names import PACKED_KEY, ZSTD_KEY
from pruning_proto.packed import format as packed_format
from pruning_proto.packed.format import Packable, Stored
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, LayoutError, TensorEntry, build
from pruning_proto.spans import spans


class PackedTensors(Protocol):
    """Packed tensors that can be read: a `FileSource`, or a result in memory."""

    @property
    def path(self) -> str:
        """Names them in errors."""

    @property
    def layout(self) -> Layout:
        """Their header."""

    def reading(self) -> AbstractContextManager[Part]:
        """Return a function that reads parts of their buffer, while inside."""

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Return a part of their buffer, in pieces."""


def is_packed(layout: Layout) -> bool:
    """Whether a file is packed, compressed or not."""
    return PACKED_KEY in layout.metadata or ZSTD_KEY in layout.metadata


def contents_of(packed: Layout, path: str) -> Sequence[Stored | TensorEntry]:
    """Return the tensors of a packed file in order: packed ones, and those stored as they are. Needs no numpy.

    Raises: CheckpointError that names `path` if the file is not packed, or its header shows that it is damaged.
    """
    try:
        return packed_format.contents(packed)
    except LayoutError as error:
        raise layout_error(error, path) from error


class PackedSource:
    """Packed tensors as the dense checkpoint that they were made from: a `file.Source`.

    `header` and `layout` are the dense checkpoint's; `contents` are the tensors as they are stored in the packed file.
    Raises: CheckpointError if the file is not packed, or its header shows damage. ImportError without numpy.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, packed: PackedTensors) -> None:
        self._codec = codec()
        self._packed = packed
        self.path = packed.path
        self.contents = contents_of(packed.layout, self.path)
        metadata = packed_format.without_shapes(packed.layout.metadata)
        try:
            self.header, self.layout = build(map(packed_format.spec_of, self.contents), metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the dense buffer, or these ranges of it, in pieces, tensor after tensor; all of it is read.

        Raises: OSError. CheckpointError if a mask does not fit its values or its tensor's shape.
        """
        return self._all_pieces() if ranges is None else parts_within(self._all_pieces(), ranges)

    def _all_pieces(self) -> Iterator[memoryview]:
        with self._packed.reading() as bits, self._packed.reading() as values:
            for content in self.contents:
                yield from self._pieces_of(content, bits, values)

    def pieces_of(self, content: Stored | TensorEntry) -> Iterator[memoryview]:
        """Return one tensor of the dense checkpoint in pieces. Raises: as `pieces`."""
        with self._packed.reading() as bits, self._packed.reading() as values:
            yield from self._pieces_of(content, bits, values)

    def _pieces_of(self, content: Stored | TensorEntry, bits: Part, values: Part) -> Iterator[memoryview]:
        return self._unpacked(content, bits, values) if isinstance(content, Stored) else chunks_of(content, values)

    def _unpacked(self, stored: Stored, bits: Part, values: Part) -> Iterator[memoryview]:
        tensor, begin = stored.tensor, stored.values.begin
        row_counts = []
        for piece in tensor.pieces():
            mask = bits(stored.bits.begin + piece.bits_begin, stored.bits.begin + piece.bits_end)
            row_counts.append(self._codec.count_ones(mask, piece.rows))
            end = begin + int(row_counts[-1].sum()) * tensor.width
            if end > stored.values.end:
                raise self._damaged(f"{stored.bits.name!r} marks more entries than {stored.values.name!r} has", tensor)
            try:
                yield self._codec.unpack(values(begin, end), mask, tensor, piece).data
            except LayoutError as error:
                raise layout_error(error, self.path) from error
            begin = end
        if begin < stored.values.end:
            raise self._damaged(f"{stored.bits.name!r} marks fewer entries than {stored.values.name!r} has", tensor)
        self._check_matrix(stored, self._codec.as_bytes(self._codec.row_offsets(row_counts, tensor)), bits)

    def _check_matrix(self, stored: Stored, offsets: memoryview, part: Part) -> None:
        """Compare the shape and the row offsets that a matrix stores with those that follow from its mask."""
        for entry, expected in ((stored.shape, packed_format.shape_bytes(stored.tensor)), (stored.offsets, offsets)):
            if entry is not None and part(entry.begin, entry.end) != expected:
                raise self._damaged(f"{entry.name!r} does not fit the mask and the shape", stored.tensor)

    def _damaged(self, description: str, tensor: Packable) -> PruningError:
        error = LayoutError(Reason.INVALID_PACKED, f"{description}; the packed file is damaged", tensor.name)
        return layout_error(error, self.path)


@dataclass(frozen=True, slots=True)
class PackedInMemory:
    """Packed tensors in a buffer."""

    layout: Layout
    buffer: memoryview
    path: str = "the result"

    def reading(self) -> AbstractContextManager[Part]:
        """Return a function that reads parts of the buffer."""
        return nullcontext(lambda begin, end: self.buffer[begin:end])

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Return a part of the buffer."""
        yield self.buffer[begin:end]


def dense_in_memory(source: Source) -> tuple[Layout, memoryview]:
    """Return the layout and the buffer of a checkpoint. Raises: as its `pieces`."""
    buffer, begin = allocate(source.layout.buffer_bytes), 0
    for piece in source.pieces():
        buffer[begin : begin + len(piece)] = piece
        begin += len(piece)
    return source.layout, buffer


def chunks_of(entry: TensorEntry, part: Part) -> Iterator[memoryview]:
    """Return a tensor's bytes as they are stored, in pieces of whole entries."""
    for begin, end in spans(entry.end - entry.begin, CHUNK_BYTES):
        yield part(entry.begin + begin, entry.begin + end)


def codec() -> ModuleType:
    """Return the module that works on packed bytes with numpy. Raises: ImportError that says what to install."""
    try:
        from pruning_proto.packed import codec as packed_codec  # noqa: PLC0415 - numpy is imported only when needed
    except ImportError as error:
        raise ImportError(f"packed files need numpy: pip install 'pruning-service[numpy]' ({error})") from error
    return packed_codec
