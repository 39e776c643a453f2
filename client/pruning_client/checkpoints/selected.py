"""A small checkpoint of a few tensors of another, and of tensors that are made up."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pruning_client.checkpoints.byte_ranges import ByteRanges, parts_within
from pruning_client.checkpoints.file import Source
from pruning_client.frameworks.base import Framework
from pruning_proto.safetensors.header import TensorEntry, build


class SelectedSource:
    """These tensors of a source, in its order, and after them vectors of ones in fp32. A `file.Source`.

    `ones` has the length of each vector by its name, which the source does not have.
    """

    aliases: Final[Mapping[str, str]] = MappingProxyType({})
    names: Final = ()
    framework: Final[Framework | None] = None

    def __init__(self, source: Source, entries: Sequence[TensorEntry], ones: Mapping[str, int]) -> None:
        self._source = source
        self._entries = sorted(entries, key=lambda entry: entry.begin)
        self._ones = ones
        described = [
            *((entry.name, entry.dtype, entry.shape) for entry in self._entries),
            *((name, "F32", (length, 1)) for name, length in ones.items()),
        ]
        self.header, self.layout = build(described, source.layout.metadata)

    def pieces(self, ranges: ByteRanges | None = None) -> Iterator[memoryview]:
        """Return the buffer, or these ranges of it, in pieces."""
        return self._all_pieces() if ranges is None else parts_within(self._all_pieces(), ranges)

    def _all_pieces(self) -> Iterator[memoryview]:
        yield from self._source.pieces(_merged([(entry.begin, entry.end) for entry in self._entries]))
        for length in self._ones.values():
            yield memoryview(b"\x00\x00\x80\x3f" * length)


def _merged(ranges: ByteRanges) -> ByteRanges:
    """Return ascending ranges with those joined that touch."""
    merged: list[tuple[int, int]] = []
    for begin, end in ranges:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
