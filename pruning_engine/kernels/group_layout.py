"""Where groups of entries that compete are in a flat tensor: output channels, or m entries along a dim."""

from dataclasses import dataclass
from math import gcd
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.channel_layout import ChannelLayout

Integers: TypeAlias = npt.NDArray[np.int64]

_BITS = 8
"""Entries of one byte of a packed mask."""


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """A tensor seen as [batches, outer, channels, inner]: each channel of each batch is a group of entries.

    Groups are numbered batch after batch. They are contiguous where `outer` is 1; see `group_layout`.
    """

    batches: int
    outer: int
    channels: int
    inner: int

    @property
    def entries(self) -> int:
        """Entries of the whole tensor."""
        return self.groups * self.group_entries

    @property
    def groups(self) -> int:
        """The number of groups."""
        return self.batches * self.channels

    @property
    def group_entries(self) -> int:
        """Entries of one group."""
        return self.outer * self.inner

    @property
    def batch_entries(self) -> int:
        """Entries of one batch."""
        return self.outer * self.row_entries

    @property
    def row_entries(self) -> int:
        """Consecutive entries of a batch that are of all its channels."""
        return self.channels * self.inner

    @property
    def is_contiguous(self) -> bool:
        """Whether each group is a run of entries, and group follows group."""
        return self.outer == 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The tensor as batches, outer, channels, inner."""
        return self.batches, self.outer, self.channels, self.inner

    def positions(self, first: int, last: int) -> Integers:
        """Return the flat positions of the entries of some groups, a row each."""
        batch, channel = np.divmod(np.arange(first, last, dtype=np.int64), max(1, self.channels))
        outer, inner = np.divmod(np.arange(self.group_entries, dtype=np.int64), max(1, self.inner))
        begins = batch * self.batch_entries + channel * self.inner
        positions: Integers = begins[:, None] + (outer * self.row_entries + inner)
        return positions

    def pieces(self, entries: int) -> list[tuple[int, int]]:
        """Return ranges of whole groups, about `entries` each.

        Contiguous ones begin at whole bytes of a packed mask; others are whole batches, or part of one.
        """
        if not self.entries:
            return []
        groups = max(1, entries // self.group_entries)
        if self.is_contiguous:
            whole_bytes = _BITS // gcd(self.group_entries, _BITS)
            return _steps(0, self.groups, max(groups // whole_bytes, 1) * whole_bytes)
        if self.batch_entries <= entries:
            return _steps(0, self.groups, groups // self.channels * self.channels)
        return [
            piece
            for begin in range(0, self.groups, self.channels)
            for piece in _steps(begin, begin + self.channels, groups)
        ]


def _steps(begin: int, end: int, step: int) -> list[tuple[int, int]]:
    return [(first, min(first + step, end)) for first in range(begin, end, step)]


def group_layout(batches: int, outer: int, channels: int, inner: int) -> GroupLayout:
    """Return the groups of a tensor [batches, outer, channels, inner]; a single channel makes them contiguous."""
    if channels == 1 or outer == 1:
        return GroupLayout(batches, 1, channels, outer * inner)
    return GroupLayout(batches, outer, channels, inner)


def groups_of_channels(layout: ChannelLayout) -> GroupLayout:
    """Return the channels of a layout as groups."""
    return group_layout(1, layout.outer, layout.channels, layout.inner)


def groups_along(shape: tuple[int, ...], dim: int, size: int) -> GroupLayout:
    """Return the groups of `size` consecutive entries along a dim, of which it has a multiple."""
    dim %= len(shape)
    before = int(np.prod(shape[:dim], dtype=np.int64))
    after = int(np.prod(shape[dim + 1 :], dtype=np.int64))
    return group_layout(before * (shape[dim] // size), size, after, 1)
