"""A safetensors file packed, and a packed one unpacked: `pack_file` and `unpack_file`. Needs no server.

A packed file holds what is not zero and a mask of one bit per entry; the format is `pruning_proto.packed.format`'s, and
the server writes the same bytes for output "packed". A file is read twice to pack it: once to count, once to write. In
memory are a few pieces, and the mask of one tensor. Needs numpy, which is imported when a file is packed.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from pruning_client.checkpoints.atomic_file import Replacement, replacing
from pruning_client.checkpoints.compressed import CompressedSource, unpacked_source
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.free_space import check_free_space
from pruning_client.checkpoints.packed import PackedSource, chunks_of, codec
from pruning_client.checkpoints.readable import Part
from pruning_client.errors import CheckpointError, layout_error
from pruning_client.files.packed_file import PackedFile as PackedFile  # noqa: PLC0414 - a name of this module
from pruning_client.files.packed_file import Path
from pruning_proto.packed import format as packed_format
from pruning_proto.packed.format import Content, Packable, Piece, Stored
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import Layout, LayoutError, TensorEntry, build


def pack_file(
    source: Path, out: Path, *, canonical_zero: bool = False, compression: Literal["zstd"] | None = None
) -> PackedFile:
    """Write a safetensors file packed, whole or not at all; `out` may be `source`.

    With `compression` the file is smaller, in a format of its own, which needs the extra `zstd`.

    Unpacking it returns the same bits. With `canonical_zero` every -0.0 becomes +0.0, which takes one bit instead of
    its full width.

    Raises: OSError. CheckpointError if the file is not sound, or packed already. MismatchError if a tensor has the name
    that another would be packed into. ImportError without numpy, or zstd for `compression`. ValueError for another
    `compression`. In all cases `out` is unchanged.
    Example:
        >>> packed = pack_file("model.safetensors", "model.packed")
        >>> packed.tensors
        4
    """
    if compression is not None:
        if compression != "zstd":
            raise ValueError(f"compression is 'zstd' or None, got {compression!r}")
        from pruning_client.files.compress import compress_file  # noqa: PLC0415 - threads, only where they are used

        return compress_file(source, out, canonical_zero=canonical_zero)
    packer = _Packer(FileSource(source), canonical_zero=canonical_zero)
    surveys = packer.survey()
    dense = packer.file.layout
    specs, order = packed_format.arranged([survey.content for survey in surveys])
    packed = [survey.packed for survey in surveys if survey.packed]
    header, layout = build(specs, packed_format.with_shapes(dense.metadata, packed, order))
    with replacing(out) as target:
        target.write(header)
        packer.write(surveys, _Parts(target, layout))
    return PackedFile(
        tensors=len(surveys),
        packed=sum(survey.packed is not None for survey in surveys),
        dense_bytes=dense.total_bytes,
        packed_bytes=layout.total_bytes,
        negative_zeros=sum(survey.negative_zeros for survey in surveys),
    )


def unpack_file(source: Path, out: Path) -> PackedFile:
    """Write the file that a packed one was made from, whole or not at all; `out` may be `source`.

    Raises: OSError. CheckpointError if the file is not sound, not packed or damaged. ImportError without numpy. In all
    cases `out` is unchanged.
    Example:
        >>> _ = pack_file("model.safetensors", "model.packed")
        >>> _ = unpack_file("model.packed", "again.safetensors")
    """
    file = FileSource(source)
    packed = unpacked_source(file)
    check_free_space(out, packed.layout.total_bytes)
    with replacing(out) as target:
        target.write(packed.header)
        for piece in packed.pieces():
            target.write(piece)
    return PackedFile(
        tensors=len(packed.layout.tensors),
        packed=_packed_tensors(packed),
        dense_bytes=packed.layout.total_bytes,
        packed_bytes=file.layout.total_bytes,
    )


def _packed_tensors(source: PackedSource | CompressedSource) -> int:
    """Return how many tensors take fewer bytes packed."""
    if isinstance(source, CompressedSource):
        return sum(content.entry.end - content.entry.begin < content.dense_bytes for content in source.contents)
    return sum(isinstance(content, Stored) for content in source.contents)


@dataclass(frozen=True, slots=True)
class _Survey:
    """A tensor of a file that is to be packed, as the first reading found it. `packed` is None if it stays dense."""

    entry: TensorEntry
    packed: Packable | None
    nonzeros: int
    negative_zeros: int

    @property
    def content(self) -> Content:
        """The tensors that hold it in the packed file."""
        if self.packed is None:
            return Content(None, [(self.entry.name, self.entry.dtype, self.entry.shape)])
        return Content(self.packed, self.packed.parts(self.nonzeros))


class _Parts:
    """The tensors of the packed file, each written from its beginning to its end, in any order."""

    def __init__(self, target: Replacement, layout: Layout) -> None:
        self._target = target
        self._next = {entry.name: layout.header_bytes + entry.begin for entry in layout.tensors}

    def write(self, name: str, data: memoryview | bytes) -> None:
        """Append bytes to a tensor. Raises: OSError."""
        self._target.write_at(self._next[name], data)
        self._next[name] += len(data)


class _Packer:
    """Reads one file twice: `survey` counts what is not zero, `write` packs."""

    def __init__(self, file: FileSource, *, canonical_zero: bool) -> None:
        self.file = file
        self._canonical_zero = canonical_zero
        self._codec = codec()

    def survey(self) -> list[_Survey]:
        """Return for each tensor whether it gets smaller by packing. Raises: CheckpointError, MismatchError."""
        layout = self.file.layout
        try:
            packed_format.check_not_packed(layout.metadata)
            packed_format.check_names((entry.name, entry.dtype, entry.shape) for entry in layout.tensors)
        except LayoutError as error:
            raise layout_error(error, self.file.path) from error
        with self.file.reading() as part:
            return [self._survey(entry, part) for entry in layout.tensors]

    def write(self, surveys: list[_Survey], target: _Parts) -> None:
        """Write the tensors. Raises: OSError. CheckpointError if the file has changed since the survey."""
        with self.file.reading() as part:
            for survey in surveys:
                if survey.packed is not None:
                    self._write_packed(survey, survey.packed, part, target)
                    continue
                for chunk in chunks_of(survey.entry, part):
                    target.write(survey.entry.name, memoryview(self._canonical(chunk, survey)).cast("B"))

    def _survey(self, entry: TensorEntry, part: Part) -> _Survey:
        tensor = packed_format.packable((entry.name, entry.dtype, entry.shape))
        nonzeros = negative_zeros = 0
        for piece in () if tensor is None else tensor.pieces():
            data = _piece_of(entry, piece, part)
            count = self._codec.count_negative_zeros(data, entry.dtype)
            if count and self._canonical_zero:
                data = self._codec.without_negative_zeros(data, entry.dtype)
            negative_zeros += count
            nonzeros += self._codec.count_nonzero(data, tensor)
        packed = tensor if tensor is not None and tensor.gets_smaller(nonzeros) else None
        return _Survey(entry, packed, nonzeros, negative_zeros)

    def _write_packed(self, survey: _Survey, tensor: Packable, part: Part, target: _Parts) -> None:
        if tensor.is_matrix:
            target.write(tensor.shape_name, packed_format.shape_bytes(tensor))
        pieces = []
        for piece in tensor.pieces():
            data = self._canonical(_piece_of(survey.entry, piece, part), survey)
            packed = self._codec.pack(data, tensor, piece)
            target.write(tensor.values_name, self._codec.as_bytes(packed.values))
            pieces.append((packed.bits, packed.row_counts, len(packed.values)))
        for bits, _, _ in pieces:
            target.write(tensor.bits_name, memoryview(bits.data).cast("B"))
        if tensor.is_matrix:
            row_counts = [counts for _, counts, _ in pieces]
            target.write(tensor.offsets_name, self._codec.as_bytes(self._codec.row_offsets(row_counts, tensor)))
        if sum(nonzeros for _, _, nonzeros in pieces) != survey.nonzeros:
            raise CheckpointError(
                f"{self.file.path}: the file was changed while it was read; try again when nothing writes it",
                reason=Reason.TRUNCATED,
            )

    def _canonical(self, data: memoryview, survey: _Survey) -> Any:
        """Return the bytes with +0.0 for each -0.0, where that was asked."""
        if not self._canonical_zero or survey.negative_zeros == 0:
            return data
        return self._codec.without_negative_zeros(data, survey.entry.dtype)


def _piece_of(entry: TensorEntry, piece: Piece, part: Part) -> memoryview:
    width = (entry.end - entry.begin) // prod(entry.shape)
    return part(entry.begin + piece.begin * width, entry.begin + piece.end * width)
