"""A safetensors file packed and compressed: `pruning_proto.packed.frames`'s format. Needs numpy and zstd.

The file is read once. How long it becomes is known at the end, so that the header is written last, into a space that is
left for it and is filled up with spaces. Threads compress a few pieces at once; in memory are no more than these.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from pruning_client.checkpoints.atomic_file import Replacement, replacing
from pruning_client.checkpoints.compressed import frame_codec
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.readable import Part
from pruning_client.errors import layout_error
from pruning_client.files.packed_file import PackedFile, Path
from pruning_proto.packed import frames
from pruning_proto.packed.format import check_not_packed
from pruning_proto.safetensors.header import LayoutError, TensorEntry

_MOST_THREADS: Final = 4


def compress_file(source: Path, out: Path, *, canonical_zero: bool = False) -> PackedFile:
    """Write a file packed and compressed, whole or not at all; `out` may be `source`. Raises: as `pack_file`."""
    writer = _Compressor(FileSource(source), canonical_zero=canonical_zero)
    with replacing(out) as target:
        return writer.write(target)


class _Compressor:
    """Reads one file once, and writes its pieces in order."""

    def __init__(self, file: FileSource, *, canonical_zero: bool) -> None:
        self._file = file
        self._canonical_zero = canonical_zero
        self._frames = frame_codec()
        self._negative_zeros = 0
        try:
            check_not_packed(file.layout.metadata)
        except LayoutError as error:
            raise layout_error(error, file.path) from error

    def write(self, target: Replacement) -> PackedFile:
        """Write all tensors, then the header. Raises: OSError. CheckpointError if the file changes."""
        dense = self._file.layout
        tensors = [(entry.name, entry.dtype, entry.shape) for entry in dense.tensors]
        sizes, position = [], frames.header_bytes(tensors, dense.metadata)
        with self._file.reading() as part, ThreadPoolExecutor(_threads()) as threads:
            for entry in dense.tensors:
                begin = position
                for piece in _in_order(threads, self._work(entry, part)):
                    encoded, negative_zeros = piece
                    target.write_at(position, encoded)
                    position += len(encoded)
                    self._negative_zeros += negative_zeros
                sizes.append(position - begin)
        target.write_at(0, frames.header(tensors, sizes, dense.metadata))
        return PackedFile(
            tensors=len(sizes),
            packed=sum(size < entry.end - entry.begin for size, entry in zip(sizes, dense.tensors, strict=True)),
            dense_bytes=dense.total_bytes,
            packed_bytes=position,
            negative_zeros=self._negative_zeros,
        )

    def _work(self, entry: TensorEntry, part: Part) -> Iterator[Callable[[], tuple[bytes, int]]]:
        begin = entry.begin
        for piece in frames.pieces_of(entry.dtype, entry.end - entry.begin):
            data = bytes(part(begin, begin + piece.bytes))  # the next piece is read into the same memory
            yield partial(self._encoded, data, entry.dtype)
            begin += piece.bytes

    def _encoded(self, data: bytes, dtype: str) -> tuple[bytes, int]:
        """Return a piece's prefix and frame, and its count of -0.0."""
        found: tuple[bytes, int] = self._frames.encode_counting(
            memoryview(data), dtype, canonical_zero=self._canonical_zero
        )
        return found


def _in_order(
    threads: ThreadPoolExecutor, work: Iterator[Callable[[], tuple[bytes, int]]]
) -> Iterator[tuple[bytes, int]]:
    """Return the results of work in its order, a few pieces ahead."""
    waiting: deque[Future[tuple[bytes, int]]] = deque()
    for each in work:
        waiting.append(threads.submit(each))
        if len(waiting) > _threads():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)
