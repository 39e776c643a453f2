"""Packed files: what survived of each tensor, and one bit an entry. Written, and read as what they were made of.

The format is `pruning_proto.packed.format`'s; the server writes the same bytes in form "packed". A file is read twice
to pack it, once to count and once to write; in memory are a few pieces, and one bit for each entry of one tensor. Needs
numpy, which is imported when it comes to that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from math import prod
from os import PathLike
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeAlias

from pruning_client.checkpoints.atomic_file import Replacement, replacing
from pruning_client.checkpoints.file import FileSource, Part
from pruning_client.checkpoints.memory import allocate
from pruning_client.errors import CheckpointError, PruningError, layout_error
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.packed import format as packed_layout
from pruning_proto.packed.format import Packable, Piece, Spec, Stored
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, LayoutError, TensorEntry, build

Path: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """What came of packing a file, or of unpacking one.

    Units: bytes, of the whole file before and after. `packed` counts the tensors that stand packed in it, of `tensors`.
    `negative_zeros` counts the entries of -0.0 that there were before packing; None for unpacking.
    """

    tensors: int
    packed: int
    dense_bytes: int
    packed_bytes: int
    negative_zeros: int | None = None

    @property
    def ratio(self) -> float:
        """The packed file's part of the dense one's bytes."""
        return self.packed_bytes / self.dense_bytes

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return asdict(self) | {"ratio": self.ratio}


def pack_file(source: Path, out: Path, *, canonical_zero: bool = False) -> PackedFile:
    """Write a safetensors file packed, whole or not at all; `out` may be `source`.

    What comes out when it is unpacked is equal by bits. With `canonical_zero` every -0.0 becomes +0.0, which takes one
    bit where it would take its full width.

    Raises: OSError. CheckpointError if the file is not sound, or packed already. MismatchError if a tensor has the name
    that another would be packed into. ImportError without numpy. In all cases `out` is as it was.
    """
    file = FileSource(source)
    looked_at = _look(file, canonical_zero)
    header, layout = build(
        [spec for tensor in looked_at for spec in tensor.specs],
        packed_layout.with_shapes(file.layout.metadata, [tensor.packed for tensor in looked_at if tensor.packed]),
    )
    with replacing(out) as target, file.reading() as part:
        target.write(header)
        for tensor in looked_at:
            _write(tensor, part, target, file)
    return PackedFile(
        tensors=len(looked_at),
        packed=sum(tensor.packed is not None for tensor in looked_at),
        dense_bytes=file.layout.total_bytes,
        packed_bytes=layout.total_bytes,
        negative_zeros=sum(tensor.negative_zeros for tensor in looked_at),
    )


def unpack_file(source: Path, out: Path) -> PackedFile:
    """Write the file that a packed one was made of, whole or not at all; `out` may be `source`.

    Raises: OSError. CheckpointError if the file is not sound, not packed or damaged. ImportError without numpy. In all
    cases `out` is as it was.
    """
    file = FileSource(source)
    packed = PackedSource(file)
    with replacing(out) as target:
        target.write(packed.header)
        for piece in packed.pieces():
            target.write(piece)
    return PackedFile(
        tensors=len(packed.layout.tensors),
        packed=sum(isinstance(content, Stored) for content in packed.contents),
        dense_bytes=packed.layout.total_bytes,
        packed_bytes=file.layout.total_bytes,
    )


def is_packed(layout: Layout) -> bool:
    """Whether a file is packed."""
    return packed_layout.KEY in layout.metadata


def contents_of(packed: Layout, where: str) -> Sequence[Stored | TensorEntry]:
    """Give the tensors of a packed file, in order: packed ones, and those as they are. Needs no numpy.

    Raises: CheckpointError if it is not packed, or damaged as far as the header tells; it names `where`.
    """
    try:
        return packed_layout.contents(packed)
    except LayoutError as error:
        raise layout_error(error, where) from error


class PackedSource:
    """A packed file as the one that it was made of: what can be sent, or read. A `source.Source`.

    Raises: CheckpointError if it is not packed, or damaged as far as the header tells. ImportError without numpy.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()

    def __init__(self, file: FileSource) -> None:
        self.path = file.path
        self._unpacked = Unpacked(file.layout, file.reading, file.path)

    @property
    def header(self) -> bytes:
        """The header of what was packed."""
        return self._unpacked.header

    @property
    def layout(self) -> Layout:
        """What that header says."""
        return self._unpacked.layout

    @property
    def contents(self) -> Sequence[Stored | TensorEntry]:
        """The tensors as they stand in the packed file."""
        return self._unpacked.contents

    def pieces(self) -> Iterator[memoryview]:
        """Give the buffer of what was packed, in pieces. Raises: OSError. CheckpointError if the file is damaged."""
        return self._unpacked.pieces()


class Unpacked:
    """The file that packed tensors were made of: its header, and its buffer in pieces.

    `reading` opens the packed buffer; `where` names it in errors.
    """

    def __init__(self, packed: Layout, reading: Callable[[], AbstractContextManager[Part]], where: str) -> None:
        _arrays()
        self._reading = reading
        self._where = where
        self.contents = contents_of(packed, where)
        metadata = packed_layout.without_shapes(packed.metadata)
        try:
            self.header, self.layout = build(map(packed_layout.spec_of, self.contents), metadata)
        except LayoutError as error:
            raise layout_error(error, where) from error

    def pieces(self) -> Iterator[memoryview]:
        """Give the buffer, tensor after tensor. Raises: CheckpointError if mask, values and shape do not fit."""
        with self._reading() as bits, self._reading() as values:
            for content in self.contents:
                if isinstance(content, Stored):
                    yield from self._entries(content, bits, values)
                else:
                    yield from _chunks(content, values)

    def _entries(self, stored: Stored, bits: Part, values: Part) -> Iterator[memoryview]:
        arrays, tensor, begin = _arrays(), stored.tensor, stored.values.begin
        row_counts = []
        for piece in tensor.pieces():
            mask = bits(stored.bits.begin + piece.bits_begin, stored.bits.begin + piece.bits_end)
            row_counts.append(arrays.count_ones(mask, piece.rows))
            end = begin + int(row_counts[-1].sum()) * tensor.width
            if end > stored.values.end:
                raise self._damaged(f"{stored.bits.name!r} marks more entries than {stored.values.name!r} has", tensor)
            try:
                yield arrays.unpack(values(begin, end), mask, tensor, piece).data
            except LayoutError as error:
                raise layout_error(error, self._where) from error
            begin = end
        if begin < stored.values.end:
            raise self._damaged(f"{stored.bits.name!r} marks fewer entries than {stored.values.name!r} has", tensor)
        self._check_matrix(stored, arrays.as_bytes(arrays.row_offsets(row_counts, tensor)), bits)

    def _check_matrix(self, stored: Stored, offsets: memoryview, part: Part) -> None:
        """Hold what a matrix says twice against each other."""
        for entry, expected in ((stored.shape, packed_layout.shape_bytes(stored.tensor)), (stored.offsets, offsets)):
            if entry is not None and part(entry.begin, entry.end) != expected:
                raise self._damaged(f"{entry.name!r} does not fit the mask and the shape", stored.tensor)

    def _damaged(self, wrong: str, tensor: Packable) -> PruningError:
        error = LayoutError(Reason.INVALID_PACKED, f"{wrong}; the packed file is damaged", tensor.name)
        return layout_error(error, self._where)


def read_packed(path: Path) -> tuple[Layout, memoryview]:
    """Give the tensors that a packed file was made of: what their header says, and their buffer.

    Raises: OSError; else as `Unpacked`.
    """
    source = PackedSource(FileSource(path))
    return source.layout, _filled(source.layout, source.pieces())


def unpacked(packed: Layout, buffer: memoryview) -> tuple[Layout, memoryview]:
    """Give the same of packed tensors in memory. Raises: as Unpacked."""

    def part(begin: int, end: int) -> memoryview:
        return buffer[begin:end]

    tensors = Unpacked(packed, lambda: nullcontext(part), "the result")
    return tensors.layout, _filled(tensors.layout, tensors.pieces())


def _filled(layout: Layout, pieces: Iterator[memoryview]) -> memoryview:
    buffer, begin = allocate(layout.buffer_bytes), 0
    for piece in pieces:
        buffer[begin : begin + len(piece)] = piece
        begin += len(piece)
    return buffer


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """A tensor of a file that is to be packed, after it was read once. `packed` is None if it stays as it is."""

    entry: TensorEntry
    packed: Packable | None
    there: int
    negative_zeros: int
    is_rewritten: bool

    @property
    def specs(self) -> list[Spec]:
        """What stands for it in the packed file."""
        if self.packed is None:
            return [(self.entry.name, self.entry.dtype, self.entry.shape)]
        return self.packed.parts(self.there)


def _look(file: FileSource, canonical_zero: bool) -> list[_LookedAt]:
    """Read a file once: what gets smaller by being packed. Raises: CheckpointError, MismatchError."""
    _arrays()
    specs = [(entry.name, entry.dtype, entry.shape) for entry in file.layout.tensors]
    try:
        packed_layout.check_not_packed(file.layout.metadata)
        packed_layout.check_names(specs)
    except LayoutError as error:
        raise layout_error(error, file.path) from error
    with file.reading() as part:
        return [_look_at(entry, part, canonical_zero) for entry in file.layout.tensors]


def _look_at(entry: TensorEntry, part: Part, canonical_zero: bool) -> _LookedAt:
    arrays = _arrays()
    tensor = packed_layout.packable((entry.name, entry.dtype, entry.shape))
    there = negative_zeros = 0
    for piece in () if tensor is None else tensor.pieces():
        data = _data(entry, piece, part)
        zeros = arrays.count_negative_zeros(data, entry.dtype)
        if zeros and canonical_zero:
            data = arrays.without_negative_zeros(data, entry.dtype)
        negative_zeros += zeros
        there += arrays.count_there(data, tensor)
    return _LookedAt(
        entry=entry,
        packed=tensor if tensor is not None and tensor.gets_smaller(there) else None,
        there=there,
        negative_zeros=negative_zeros,
        is_rewritten=canonical_zero and negative_zeros > 0,
    )


def _write(tensor: _LookedAt, part: Part, target: Replacement, file: FileSource) -> None:
    def data(begin: int, end: int) -> Any:
        read = part(begin, end)
        return _arrays().without_negative_zeros(read, tensor.entry.dtype) if tensor.is_rewritten else read

    if tensor.packed is None:
        for piece in _chunks(tensor.entry, data):
            target.write(piece)
        return
    there = _write_packed(tensor.packed, tensor.entry, data, target)
    if there != tensor.there:
        raise CheckpointError(
            f"{file.path}: the file was changed while it was read; try again when nothing writes it",
            reason=Reason.TRUNCATED,
        )


def _write_packed(tensor: Packable, entry: TensorEntry, part: Part, target: Replacement) -> int:
    """Write what stands for a tensor; give how many of its entries are there."""
    arrays = _arrays()
    if tensor.is_matrix:
        target.write(packed_layout.shape_bytes(tensor))
    masks, row_counts, there = [], [], 0
    for piece in tensor.pieces():
        packed = arrays.pack(_data(entry, piece, part), tensor, piece)
        target.write(arrays.as_bytes(packed.values))
        masks.append(packed.bits)
        row_counts.append(packed.row_counts)
        there += len(packed.values)
    for mask in masks:
        target.write(mask.data)
    if tensor.is_matrix:
        target.write(arrays.as_bytes(arrays.row_offsets(row_counts, tensor)))
    return there


def _data(entry: TensorEntry, piece: Piece, part: Part) -> memoryview:
    width = (entry.end - entry.begin) // prod(entry.shape)
    return part(entry.begin + piece.begin * width, entry.begin + piece.end * width)


def _chunks(entry: TensorEntry, part: Part) -> Iterator[memoryview]:
    """Give a tensor as it is, in pieces of whole entries."""
    for begin in range(entry.begin, entry.end, CHUNK_BYTES):
        yield part(begin, min(begin + CHUNK_BYTES, entry.end))


def _arrays() -> ModuleType:
    """Give what works on the bytes. Raises: ImportError that says what to install."""
    try:
        from pruning_proto.packed import codec as packed_arrays  # noqa: PLC0415 - numpy is imported only when asked for
    except ImportError as error:
        raise ImportError(f"packed files need numpy: pip install 'pruning-service[numpy]' ({error})") from error
    return packed_arrays
