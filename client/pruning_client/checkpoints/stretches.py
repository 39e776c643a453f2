"""Where the bytes of a source's buffer are: in files, one after the other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pruning_client.checkpoints.readable import ReadableFile
from pruning_proto.safetensors.header import Layout


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes that follow one another: in a file from `begin` on, or, without a file, only to be had from the source."""

    size: int
    file: ReadableFile | None = None
    begin: int = 0

    def part(self, begin: int, end: int) -> "Stretch":
        """Return some of it, counted from its own beginning."""
        return Stretch(end - begin, self.file, self.begin + begin)


class _Described(Protocol):
    """A source, as far as it is needed here."""

    @property
    def layout(self) -> Layout:
        """What its header says."""


@runtime_checkable
class _Stretched(Protocol):
    """A source that knows."""

    def stretches(self) -> Iterator[Stretch]:
        """Yield where the bytes of its buffer are, in order."""


def stretches_of(source: _Described) -> Iterator[Stretch]:
    """Yield where the bytes of a source's buffer are, in order; one stretch without a file if nothing is known."""
    return source.stretches() if isinstance(source, _Stretched) else iter([Stretch(source.layout.buffer_bytes)])


def stretches_between(stretches: Iterable[Stretch], begin: int, end: int) -> Iterator[Stretch]:
    """Yield what is between two bytes of some stretches."""
    at = 0
    for stretch in stretches:
        first, last = max(begin - at, 0), min(end - at, stretch.size)
        if first < last:
            yield stretch.part(first, last)
        at += stretch.size
