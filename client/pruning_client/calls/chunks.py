"""The pieces of a model, cut and gathered into messages of about one size."""

from collections.abc import Iterable, Iterator

from pruning_proto.framing import Data


def chunks(pieces: Iterable[memoryview], size: int) -> Iterator[Data]:
    """Cut what is larger than `size`, and gather what is smaller: a model may have many thousand small tensors.

    Only what is gathered is copied. A chunk may be larger by half: a small rest does not go as a message of its own.
    """
    gathered = bytearray()
    for piece in pieces:
        if gathered and len(gathered) + len(piece) > size:
            yield gathered
            gathered = bytearray()
        if len(piece) < size:
            gathered += piece
        else:
            yield from _cut(piece, size)
    if gathered:
        yield gathered


def _cut(piece: memoryview, size: int) -> Iterator[memoryview]:
    """Cut a piece into steps of `size`; the last one has up to half as much more, which `spans` would leave apart."""
    begin = 0
    while len(piece) - begin > size + size // 2:
        yield piece[begin : begin + size]
        begin += size
    yield piece[begin:]
