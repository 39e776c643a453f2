"""Compressed packed files read as the dense checkpoints that they were made from, in the memory of a few pieces.

The format is `pruning_proto.packed.frames`'s. Reading needs numpy and zstd, which are imported when a file is read; the
header and the prefixes of the frames do not. `files.compress` writes such files.
"""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from types import MappingProxyType, ModuleType
from typing import Final

from pruning_client.checkpoints.byte_ranges import ByteRanges, ranges_within
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import PackedInMemory, PackedSource, PackedTensors, dense_in_memory
from pruning_client.checkpoints.readable import Part
from pruning_client.errors import layout_error
from pruning_proto.names import ZSTD_KEY
from pruning_proto.packed import frames
from pruning_proto.packed.frames import PREFIX, Framed, FramedPiece, Prefix
from pruning_proto.safetensors.header import Layout, LayoutError, build


def is_compressed(layout: Layout) -> bool:
    """Whether a file is a compressed packed one."""
    return ZSTD_KEY in layout.metadata


def unpacked_source(file: PackedTensors) -> "PackedSource | CompressedSource":
    """Return packed tensors, compressed or not, as the dense checkpoint that they were made from.

    Raises: CheckpointError. ImportError if what it needs is not installed.
    """
    return CompressedSource(file) if is_compressed(file.layout) else PackedSource(file)


def read_packed(path: str | PathLike[str]) -> tuple[Layout, memoryview]:
    """Return the dense layout and the dense buffer of a packed file, compressed or not.

    Raises: OSError; else as `unpacked_source` and its `pieces`.
    """
    return dense_in_memory(unpacked_source(FileSource(path)))


def unpacked(packed: Layout, buffer: memoryview) -> tuple[Layout, memoryview]:
    """Return the dense layout and the dense buffer of packed tensors in memory.

    Raises: as `unpacked_source` and its `pieces`.
    """
    return dense_in_memory(unpacked_source(PackedInMemory(packed, buffer)))


def framed_tensors(file: PackedTensors) -> Sequence[Framed]:
    """Return the tensors of a compressed file. Raises: CheckpointError if its header shows that it is damaged."""
    try:
        return frames.framed_tensors(file.layout)
    except LayoutError as error:
        raise layout_error(error, file.path) from error


def prefixes(file: FileSource, tensor: Framed) -> Iterator[tuple[FramedPiece, Prefix]]:
    """Return the prefix of each piece of a tensor, without reading the frames.

    Raises: OSError. CheckpointError if they do not fit the tensor.
    """
    with file.reading() as part:
        try:
            yield from _walk(tensor, part)
        except LayoutError as error:
            raise layout_error(error, file.path) from error


class CompressedSource:
    """A compressed packed file as the dense checkpoint that it was made from: a `file.Source`.

    Raises: CheckpointError if its header shows that it is damaged. ImportError without numpy or zstd.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final = None

    def __init__(self, file: PackedTensors) -> None:
        self._codec = frame_codec()
        self._file = file
        self.path = file.path
        self.contents = framed_tensors(file)
        metadata = frames.without_dense_tensors(file.layout.metadata)
        try:
            self.header, self.layout = build(map(frames.spec_of, self.contents), metadata)
        except LayoutError as error:
            raise layout_error(error, self.path) from error

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the dense buffer, or these ranges of it, in pieces; tensors outside of the ranges are not read.

        Raises: OSError. CheckpointError if a frame is damaged.
        """
        begin = 0
        for content in self.contents:
            end = begin + content.dense_bytes
            own = None if ranges is None else ranges_within(ranges, begin, end)
            if own is None:
                yield from self.pieces_of(content)
            elif own:
                yield from _parts(self.pieces_of(content), own)
            begin = end

    def pieces_of(self, content: Framed) -> Iterator[memoryview]:
        """Return one tensor of the dense checkpoint in pieces. Raises: as `pieces`."""
        try:
            bytes_of = _Bytes(content, self._file.read(content.entry.begin, content.entry.end))
            for piece in content.pieces():
                prefix = Prefix(*PREFIX.unpack(bytes_of.next(PREFIX.size)))
                content.content_bytes(piece, prefix)  # refuses a frame that is too long to be read
                frame = bytes_of.next(prefix.frame_bytes)
                yield self._codec.decode(memoryview(frame), prefix, content, piece).data
            bytes_of.check_end()
        except LayoutError as error:
            raise layout_error(error, self.path) from error


class _Bytes:
    """The bytes of a tensor from its beginning: they are read in large pieces, whatever is asked for at a time."""

    def __init__(self, tensor: Framed, pieces: Iterator[memoryview]) -> None:
        self._tensor = tensor
        self._pieces = pieces
        self._rest = bytearray()

    def next(self, count: int) -> bytes:
        """Return the next bytes. Raises: LayoutError if there are fewer."""
        while len(self._rest) < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise self._tensor.damaged("it ends before its last frame does")
            self._rest += piece
        found = bytes(self._rest[:count])
        del self._rest[:count]
        return found

    def check_end(self) -> None:
        """Refuse bytes that are left. Raises: LayoutError."""
        if self._rest or next(self._pieces, None) is not None:
            raise self._tensor.damaged("something follows its last frame")


def _walk(tensor: Framed, part: Part) -> Iterator[tuple[FramedPiece, Prefix]]:
    """Return each piece with its prefix; frames are passed over. Raises: LayoutError if they do not fit."""
    begin, end = tensor.entry.begin, tensor.entry.end
    for piece in tensor.pieces():
        if begin + PREFIX.size > end:
            raise tensor.damaged("it ends before its last frame does")
        prefix = Prefix(*PREFIX.unpack(part(begin, begin + PREFIX.size)))
        tensor.content_bytes(piece, prefix)
        begin += PREFIX.size
        if begin + prefix.frame_bytes > end:
            raise tensor.damaged("it ends before its last frame does")
        yield piece, prefix
        begin += prefix.frame_bytes
    if begin != end:
        raise tensor.damaged("something follows its last frame")


def _parts(pieces: Iterator[memoryview], ranges: ByteRanges) -> Iterator[memoryview]:
    begin = 0
    for piece in pieces:
        yield from (piece[first:last] for first, last in ranges_within(ranges, begin, begin + len(piece)))
        begin += len(piece)


def frame_codec() -> ModuleType:
    """Return the module that works on frames. Raises: ImportError that says what to install."""
    try:
        from pruning_proto.packed import frame_codec as codec  # noqa: PLC0415 - numpy and zstd only when needed
    except ImportError as error:
        install = "pip install 'pruning-service[zstd]'"
        raise ImportError(f"compressed packed files need numpy and zstd: {install} ({error})") from error
    return codec
