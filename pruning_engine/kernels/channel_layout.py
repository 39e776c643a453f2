"""Where the channels of a tensor lie in its flat entries. Knows shapes only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]

_BITS = 8
"""Entries of one byte of a packed mask."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of flat entries, `begin` to `end`, that is whole as [outer, channels, inner].

    It may begin within a byte of a packed mask.
    """

    begin: int
    end: int
    shape: tuple[int, int, int]
    first_channel: int


@dataclass(frozen=True, slots=True)
class ChannelLayout:
    """A tensor seen as [outer, channels, inner]: its slices along one dim, each of shape `slice_shape`."""

    outer: int
    channels: int
    inner: int
    slice_shape: tuple[int, ...]

    @property
    def entries(self) -> int:
        """Entries of the whole tensor."""
        return self.outer * self.channels * self.inner

    @property
    def channel_entries(self) -> int:
        """Entries of one channel."""
        return self.outer * self.inner

    def within(self, begin: int, end: int) -> Integers:
        """Return the flat positions of the first channel's entries from `begin` to `end`."""
        outer, inner = np.divmod(np.arange(begin, end, dtype=np.int64), max(1, self.inner))
        return outer * (self.channels * self.inner) + inner

    def blocks(self, entries: int) -> Sequence[Block]:
        """Cut the tensor into blocks of at most `entries` entries, in the order of their entries.

        A block is of all channels, or of some of a row of them, or of a part of one, as they fit.
        """
        if not self.entries:
            return []
        row = self.channels * self.inner
        if self.outer > 1 and row <= entries:
            step = _whole_bytes(entries // row)
            return [
                Block(first * row, last * row, (last - first, self.channels, self.inner), 0)
                for first, last in _steps(self.outer, step)
            ]
        return [block for begin in range(0, self.entries, row) for block in self._row_blocks(begin, entries)]

    def _row_blocks(self, begin: int, entries: int) -> Iterator[Block]:
        """Cut the row of channels that begins at an entry."""
        if self.inner <= entries:
            for first, last in _steps(self.channels, _whole_bytes(entries // self.inner)):
                at = begin + first * self.inner
                yield Block(at, begin + last * self.inner, (1, last - first, self.inner), first)
            return
        for channel in range(self.channels):
            at = begin + channel * self.inner
            for first, last in _steps(self.inner, entries):
                yield Block(at + first, at + last, (1, 1, last - first), channel)


def _steps(count: int, step: int) -> list[tuple[int, int]]:
    return [(first, min(first + step, count)) for first in range(0, count, step)]


def channel_layout(shape: Sequence[int], dim: int) -> ChannelLayout:
    """See a tensor's slices along `dim`; negative dims count from the last."""
    dim %= len(shape)
    before, after = tuple(shape[:dim]), tuple(shape[dim + 1 :])
    return ChannelLayout(prod(before), shape[dim], prod(after), before + after)


def _whole_bytes(count: int) -> int:
    """Round down so that blocks begin where a packed mask has whole bytes, if there are enough."""
    return count // _BITS * _BITS or count
