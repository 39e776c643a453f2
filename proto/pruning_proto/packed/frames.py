"""Compressed packed files: each tensor in pieces, each piece a zstd frame. Sizes only: no data, no numpy and no zstd.

A tensor `N` of the dense file is the tensor `N` of the file, of dtype U8: for each piece of up to `ENTRIES` entries a
prefix of 12 bytes and one frame. The frame holds, in this order, a mask of one bit per entry, which says what is
stored, and the stored entries, first the lowest byte of each, then the second, and so on. Where all entries are stored
there is no mask; where none is, there is no frame. docs/packed.md has the format on one page.

So the size of what a frame holds is known from the header and its prefix, before anything is decompressed. The header
takes as many bytes as if no tensor got smaller, so that it can be written after the frames, in front of them.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from typing import Final

from pruning_proto.names import ZSTD_KEY
from pruning_proto.packed.format import ENTRIES, Spec
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, TensorEntry, build, tensor_bytes
from pruning_proto.spans import spans

PREFIX: Final = struct.Struct("<III")
"""The bytes of the frame, the stored entries, and those of them that are zero as numbers: -0.0, or zeros that no mask
leaves out."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What precedes a frame."""

    frame_bytes: int
    stored: int
    zeros: int


@dataclass(frozen=True, slots=True)
class FramedPiece:
    """Some entries of a tensor, counted from its first; `bytes` are those of the entries."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Framed:
    """A tensor of a compressed packed file: the dense one, and where its frames are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    entry: TensorEntry

    @property
    def width(self) -> int:
        """Bytes of one entry; 1 for dtypes of less, whose bytes are taken for entries."""
        return width_of(self.dtype)

    @property
    def dense_bytes(self) -> int:
        """The bytes of the dense tensor."""
        return tensor_bytes(self.dtype, self.shape)

    def pieces(self) -> Iterator[FramedPiece]:
        """Return its pieces, in order."""
        return pieces_of(self.dtype, self.dense_bytes)

    def content_bytes(self, piece: FramedPiece, prefix: Prefix) -> int:
        """Return the size of what a frame holds. Raises: LayoutError if the prefix cannot be of this piece."""
        if prefix.stored > piece.entries or prefix.zeros > piece.bytes * 8:
            raise self.damaged(f"a frame of {piece.entries:,} entries cannot store {prefix.stored:,}")
        mask_bytes = 0 if prefix.stored in (0, piece.entries) else (piece.entries + 7) // 8
        content_bytes = mask_bytes + prefix.stored * self.width
        if prefix.frame_bytes > frame_limit(content_bytes) or (prefix.frame_bytes == 0) != (prefix.stored == 0):
            raise self.damaged(f"a frame of {prefix.frame_bytes:,} bytes cannot hold {content_bytes:,} bytes")
        return content_bytes

    def damaged(self, description: str) -> LayoutError:
        """Return the error of a damaged tensor."""
        return _invalid(f"tensor {self.name!r}: {description}", self.name)


def width_of(dtype: str) -> int:
    """Return the bytes of what counts as an entry."""
    return DTYPE_BITS[dtype] // 8 if DTYPE_BITS[dtype] % 8 == 0 else 1


def pieces_of(dtype: str, dense_bytes: int) -> Iterator[FramedPiece]:
    """Cut a tensor into pieces of at most `ENTRIES`."""
    width = width_of(dtype)
    return (FramedPiece((end - begin) // width, end - begin) for begin, end in spans(dense_bytes, ENTRIES * width))


def frame_limit(content_bytes: int) -> int:
    """Return the most bytes of a frame: what zstd may make of bytes that do not compress (its ZSTD_compressBound)."""
    return content_bytes + (content_bytes >> 8) + 1024 if content_bytes else 0


def most_bytes(dtype: str, dense_bytes: int) -> int:
    """Return the most bytes that a tensor can take compressed, without going through its pieces."""
    piece_bytes = ENTRIES * width_of(dtype)
    pieces, rest = divmod(dense_bytes, piece_bytes)
    last = PREFIX.size + frame_limit(rest) if rest else 0
    return pieces * (PREFIX.size + frame_limit(piece_bytes)) + last


def header_bytes(tensors: Sequence[Spec], metadata: Mapping[str, str]) -> int:
    """Return the bytes of a compressed file's header, by the tensors and the metadata of the dense one.

    Raises: LayoutError if two tensors have the same name.
    """
    sizes = [most_bytes(dtype, tensor_bytes(dtype, shape)) for _, dtype, shape in tensors]
    return len(_header(tensors, sizes, metadata))


def header(tensors: Sequence[Spec], sizes: Sequence[int], metadata: Mapping[str, str]) -> bytes:
    """Return the header of `header_bytes`, of tensors that take `sizes` compressed. Raises: as `header_bytes`."""
    text = _header(tensors, sizes, metadata)[PREFIX_BYTES:]
    text = text.ljust(header_bytes(tensors, metadata) - PREFIX_BYTES, b" ")
    return len(text).to_bytes(PREFIX_BYTES, "little") + text


def _header(tensors: Sequence[Spec], sizes: Sequence[int], metadata: Mapping[str, str]) -> bytes:
    frames = ((name, "U8", (size,)) for (name, _, _), size in zip(tensors, sizes, strict=True))
    return build(frames, _with_dense_tensors(metadata, tensors))[0]


def _with_dense_tensors(metadata: Mapping[str, str], tensors: Iterable[Spec]) -> dict[str, str]:
    """Return the metadata of a compressed file: that of the dense one, and dtype and shape of each tensor, in order."""
    members = ",".join(f'{quoted(name)}:["{dtype}",[{",".join(map(str, shape))}]]' for name, dtype, shape in tensors)
    return {**metadata, ZSTD_KEY: f"{{{members}}}"}


def without_dense_tensors(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of the dense file."""
    return {key: value for key, value in metadata.items() if key != ZSTD_KEY}


def framed_tensors(layout: Layout) -> list[Framed]:
    """Return the tensors of a compressed packed file, in the order of the dense one.

    Raises: LayoutError if it is not one, or its header shows that it is damaged.
    """
    entries = {entry.name: entry for entry in layout.tensors}
    found = [_framed(name, dtype, shape, entries) for name, dtype, shape in _dense_tensors(layout.metadata)]
    others = entries.keys() - {tensor.name for tensor in found}
    if others:
        raise _invalid(f"tensor {min(others)!r} is not listed under {ZSTD_KEY!r}", min(others))
    return found


def spec_of(tensor: Framed) -> Spec:
    """Return name, dtype and shape of a tensor before packing."""
    return tensor.name, tensor.dtype, tensor.shape


def _framed(name: str, dtype: str, shape: tuple[int, ...], entries: Mapping[str, TensorEntry]) -> Framed:
    entry = entries.get(name)
    if entry is None:
        raise _invalid(f"tensor {name!r} is missing", name)
    if entry.dtype != "U8" or len(entry.shape) != 1:
        raise _invalid(f"tensor {name!r} must be U8 of 1 dim, it is {entry.dtype} of {len(entry.shape)}", name)
    try:
        tensor_bytes(dtype, shape)
    except LayoutError as error:
        raise _invalid(f"tensor {name!r}: {error}", name) from error
    return Framed(name, dtype, shape, entry)


def _dense_tensors(metadata: Mapping[str, str]) -> Iterator[Spec]:
    if ZSTD_KEY not in metadata:
        raise _invalid(f"its metadata has no key {ZSTD_KEY!r}; was it written by `prune pack --zstd`?")
    try:
        found = json.loads(metadata[ZSTD_KEY], object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"what its metadata has under {ZSTD_KEY!r} is not JSON") from error
    if not isinstance(found, list) or not all(isinstance(pair, tuple) for pair in found):
        raise _invalid(f"its metadata must have an object under {ZSTD_KEY!r}")
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise _invalid(f"its metadata lists a tensor twice under {ZSTD_KEY!r}")
    for name, value in found:
        if not _is_spec(value):
            raise _invalid(f"tensor {name!r} must have a dtype and a shape under {ZSTD_KEY!r}", name)
        yield name, value[0], tuple(value[1])


def _is_spec(value: object) -> bool:
    match value:
        case [str() as dtype, list() as shape]:
            return dtype in DTYPE_BITS and all(type(size) is int and size >= 0 for size in shape)
    return False


def _invalid(wrong: str, tensor: str | None = None) -> LayoutError:
    return LayoutError(Reason.INVALID_PACKED, f"this is not a valid packed file: {wrong}", tensor)
