"""Where the channels of a tensor lie in its flat entries. Knows shapes only."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

_BITS = 8
"""Blocks begin at multiples of so many entries, where a packed mask has whole bytes."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of flat entries, `begin` to `end`, that is whole as [outer, channels, inner]."""

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

    def blocks(self, entries: int) -> Sequence[Block]:
        """Cut the tensor into blocks of about so many entries: of some channels if a channel is one run, else of
        all channels.
        """
        if not self.entries:
            return []
        if self.outer == 1:
            step = _whole_bytes(entries // self.inner)
            return [
                self._channel_block(first, min(first + step, self.channels)) for first in range(0, self.channels, step)
            ]
        step = _whole_bytes(entries // (self.channels * self.inner))
        return [self._outer_block(first, min(first + step, self.outer)) for first in range(0, self.outer, step)]

    def _channel_block(self, first: int, last: int) -> Block:
        return Block(first * self.inner, last * self.inner, (1, last - first, self.inner), first)

    def _outer_block(self, first: int, last: int) -> Block:
        row = self.channels * self.inner
        return Block(first * row, last * row, (last - first, self.channels, self.inner), 0)


def channel_layout(shape: Sequence[int], dim: int) -> ChannelLayout:
    """See a tensor's slices along `dim`; negative dims count from the last."""
    dim %= len(shape)
    before, after = tuple(shape[:dim]), tuple(shape[dim + 1 :])
    return ChannelLayout(prod(before), shape[dim], prod(after), before + after)


def _whole_bytes(count: int) -> int:
    return max(_BITS, count // _BITS * _BITS)
