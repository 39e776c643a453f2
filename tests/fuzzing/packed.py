"""Packed files of both formats: unpacked, packed and unpacked again the same, or refused by a reason."""

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from pruning_client.checkpoints.compressed import CompressedSource, prefixes, read_packed, unpacked_source
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.packed import PackedSource, is_packed
from pruning_client.errors import CheckpointError, PruningError
from pruning_client.files.pack import pack_file
from pruning_proto.limits import HEADER_BYTES_CEILING
from tests.fuzzing.made_files import NAME, InMemory, file_of
from tests.fuzzing.refusals import check_refusal

MOST_PIECES = 64
"""Pieces that are unpacked: a few bytes can describe a tensor of zeros of any size."""

MOST_BYTES = 1 << 14

COMPRESSIONS: tuple[Literal["zstd"] | None, ...] = (None, "zstd")


def check(data: bytes) -> None:
    """Unpack the file that the bytes describe. Raises: AssertionError, or any error that is not a refusal."""
    content = file_of(data)
    if content is None:
        return
    try:
        source = unpacked_source(FileSource(Path(NAME), InMemory(content)))
        if isinstance(source, CompressedSource):
            _walk(source, content)
        pieces = list(_pieces(source))
    except CheckpointError as error:
        check_refusal(error.reason, str(error), NAME)
        return
    dense = source.header + b"".join(pieces)
    is_long = len(dense) > MOST_BYTES or len(pieces) == MOST_PIECES
    if source.layout.total_bytes > HEADER_BYTES_CEILING or is_long:
        return
    assert len(dense) == source.layout.total_bytes, "unpacked it is not as long as its header says"
    if not is_packed(source.layout):
        _check_packed_again(dense)


def _pieces(source: PackedSource | CompressedSource) -> Iterator[bytes]:
    return (bytes(piece) for piece in islice(source.pieces(), MOST_PIECES))


def _walk(source: CompressedSource, content: bytes) -> None:
    file = FileSource(Path(NAME), InMemory(content))
    for tensor in source.contents:
        for piece, prefix in islice(prefixes(file, tensor), MOST_PIECES):
            assert prefix.stored <= piece.entries


def _check_packed_again(dense: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        file, packed = Path(folder) / "dense", Path(folder) / "packed"
        file.write_bytes(dense)
        expected = FileSource(file)
        for compression in COMPRESSIONS:
            try:
                pack_file(file, packed, compression=compression)
            except PruningError as error:
                check_refusal(error.reason, str(error))
                continue
            layout, buffer = read_packed(packed)
            assert layout.tensors == expected.layout.tensors, "packed and unpacked they are other tensors"
            assert bytes(buffer) == dense[expected.layout.header_bytes :], "packed and unpacked they are other bytes"
