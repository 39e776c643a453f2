"""The frames of compressed packed files, made and read with numpy and zstd, which are imported with this module.

zstd is the standard library's from Python 3.14, and backports.zstd, which is the same code, before. Both release the
interpreter's lock, so that threads can work on pieces.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pruning_proto.packed import codec
from pruning_proto.packed.frames import PREFIX, Framed, FramedPiece, Prefix, width_of
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import DTYPE_BITS, NEGATIVE_ZERO, WITHOUT_ZERO
from pruning_proto.safetensors.header import LayoutError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 1
"""Level 3 saves less than a hundredth of the size of pruned weights."""

_OPTIONS: Final[Mapping[int, int]] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}

_MOST_WINDOW: Final[Mapping[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
"""A frame that asks for more memory than 8 MiB is refused: a piece is not larger."""


def encode(data: memoryview, dtype: str) -> bytes:
    """Return prefix and frame of a piece."""
    width = width_of(dtype)
    entries = np.frombuffer(data, f"<u{width}")
    flags = entries != 0
    stored = int(np.count_nonzero(flags))
    if not stored:
        return PREFIX.pack(0, 0, 0)
    if (len(entries) - stored) * width * 8 <= len(entries):  # the mask would take more than it leaves out
        content, kept = b"", entries
    else:
        content, kept = np.packbits(flags, bitorder="little").tobytes(), np.take(entries, np.flatnonzero(flags))
    frame = zstd.compress(content + _planes(kept).tobytes(), options=_OPTIONS)
    return PREFIX.pack(len(frame), len(kept), count_zeros(kept, dtype)) + frame


def encode_counting(data: memoryview, dtype: str, *, canonical_zero: bool) -> tuple[bytes, int]:
    """Return prefix and frame of a piece, and its count of -0.0, which `canonical_zero` writes as +0.0."""
    count = codec.count_negative_zeros(data, dtype)
    if count and canonical_zero:
        data = codec.without_negative_zeros(data, dtype).data
    return encode(data, dtype), count


def decode(frame: memoryview, prefix: Prefix, tensor: Framed, piece: FramedPiece) -> NDArray[np.uint8]:
    """Return the bytes of a piece. Never more than its size is decompressed.

    Raises: LayoutError if the frame holds something else than the prefix says, or does not decompress.
    """
    size, width = tensor.content_bytes(piece, prefix), tensor.width
    entries = np.zeros(piece.entries, f"<u{width}")
    if not prefix.stored:
        return entries.view(np.uint8)
    content = _content(frame, size, tensor)
    mask_bytes = size - prefix.stored * width
    planes = np.frombuffer(content, np.uint8, offset=mask_bytes).reshape(width, -1)
    kept = np.ascontiguousarray(planes.T).reshape(-1).view(entries.dtype)
    if not mask_bytes:
        return kept.view(np.uint8)
    flags = np.unpackbits(np.frombuffer(content, np.uint8, mask_bytes), bitorder="little").view(np.bool_)
    places = np.flatnonzero(flags)  # faster than the flags themselves
    if len(places) != prefix.stored or places[-1] >= piece.entries:
        raise tensor.damaged("a mask does not mark as many entries as are stored")
    entries[places] = kept
    return entries.view(np.uint8)


def count_zeros(entries: NDArray[Any], dtype: str) -> int:
    """Count the entries that are zero as numbers, -0.0 included; 0 for dtypes without a zero, or of 6 bits."""
    if dtype == WITHOUT_ZERO or DTYPE_BITS[dtype] == 6:
        return 0
    data = entries.view(np.uint8)
    if DTYPE_BITS[dtype] == 4:
        return int(np.count_nonzero((data & 0x07) == 0) + np.count_nonzero((data & 0x70) == 0))
    bits, sign = NEGATIVE_ZERO.get(dtype, (DTYPE_BITS[dtype], 0))
    numbers = data.view(f"<u{bits // 8}")
    is_zero = (numbers == 0) | (numbers == sign)
    return int(np.count_nonzero(is_zero.reshape(-1, DTYPE_BITS[dtype] // bits).all(axis=1)))


def _planes(entries: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the lowest byte of each entry, then the second, and so on: exponents compress, fractions do not."""
    return np.ascontiguousarray(entries.view(np.uint8).reshape(-1, entries.dtype.itemsize).T)


def _content(frame: memoryview, size: int, tensor: Framed) -> bytes:
    try:
        decompressor = zstd.ZstdDecompressor(options=_MOST_WINDOW)
        content: bytes = decompressor.decompress(frame, max_length=size + 1)
    except zstd.ZstdError as error:
        raise LayoutError(
            Reason.INVALID_PACKED, f"tensor {tensor.name!r}: a frame does not decompress: {error}", tensor.name
        ) from error
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise tensor.damaged(f"a frame does not hold the {size:,} bytes that its prefix says")
    return content
