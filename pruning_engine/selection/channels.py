"""The exact k least important channels of one tensor or many, by norm: the ones that are pruned.

Channels are ranked by the fp64 sums that the backends compute. Those too close to the cut to be told apart by these
are summed again, exactly and rounded once (see channel_norms.py), so that every device prunes the same ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import Backend, BoolArray, Floats, Integers, Values
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.norm import NamedNorm, Norm, power_of
from pruning_engine.runtime.threads import in_parallel

_ENTRIES: Final = 1 << 16
"""Entries that are summed at a time."""

_RELATIVE_ERROR: Final = 2.0**-51
_SMALLEST_SUM: Final = 1e-290
"""Sums up to this may hold products that were rounded below the range of normal numbers."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RankedChannels:
    """The channels of one tensor: which can be pruned, what ranks those, and what they are computed from.

    Shape: `candidates` has one flag per channel, `ranks` one number per candidate.
    """

    candidates: BoolArray
    ranks: Floats
    layout: ChannelLayout
    backend: Backend
    flat: Values
    mask: PackedMask

    def exact_sums(self, numbers: Integers, norm: Norm) -> Floats:
        """Return the exact sums of some channels."""
        return exact_channel_sums(self.backend, self.flat, self.mask, self.layout, numbers, norm)


@dataclass(frozen=True, slots=True)
class LeastChannels:
    """Which channels of each tensor are pruned, and the largest rank among them (None if none is)."""

    pruned: list[BoolArray]
    largest_pruned: float | None


@dataclass(frozen=True, slots=True)
class ChannelCut:
    """Which channels are pruned, and the largest rank among them (None if none is)."""

    pruned: BoolArray
    largest_pruned: float | None


def least_channels(tensors: Sequence[RankedChannels], count: int, norm: Norm) -> LeastChannels:
    """Prune the `count` candidates of least norm; among equals the first ones."""
    owners = np.concatenate([np.full(len(one.ranks), index) for index, one in enumerate(tensors)])
    numbers = np.concatenate([np.flatnonzero(one.candidates) for one in tensors])

    def exact(places: Integers) -> Floats:
        sums = np.empty(len(places))
        for index in sorted(set(owners[places].tolist())):  # numpy.unique would import numpy.ma: 10 ms
            mine = np.flatnonzero(owners[places] == index)
            sums[mine] = tensors[index].exact_sums(numbers[places[mine]], norm)
        return sums

    ranks = np.concatenate([one.ranks for one in tensors])
    found = cut(ranks, count, norm, max((one.layout.channel_entries for one in tensors), default=0), exact)
    pruned = [np.zeros_like(one.candidates) for one in tensors]
    for index, marks in enumerate(pruned):
        marks[numbers[found.pruned & (owners == index)]] = True
    return LeastChannels(pruned, found.largest_pruned)


def cut(ranks: Floats, count: int, norm: Norm, entries: int, exact: Callable[[Integers], Floats]) -> ChannelCut:
    """Prune the `count` channels of least rank; among equals the first ones.

    `entries`: the most that one channel sums up. `exact` returns the exact sums of channels by their places in `ranks`.
    """
    pruned = np.zeros(len(ranks), np.bool_)
    if not count:
        return ChannelCut(pruned, None)
    near = float(np.partition(ranks, count - 1)[count - 1])
    slack = entries * _RELATIVE_ERROR if norm is not NamedNorm.NUC and power_of(norm) in norms.ROUNDED_POWERS else 0.0
    margin = _SMALLEST_SUM if slack else 0.0
    np.less(ranks, near * (1.0 - slack) - margin, out=pruned)
    close = np.flatnonzero(~pruned & (ranks <= near * (1.0 + slack) + margin))
    missing = count - int(np.count_nonzero(pruned))
    values = ranks[close]
    if slack:  # also if all are pruned: the largest is reported, and must not depend on how it was summed
        values = exact(close)
    order = np.argsort(values, kind="stable")[:missing]
    pruned[close[order]] = True
    return ChannelCut(pruned, float(values[order].max()))


def exact_channel_sums(  # noqa: PLR0913, PLR0917 - what Backend.channels takes, and the norm
    backend: Backend, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> Floats:
    """Return the sum of the terms of each of the channels `numbers`; pruned entries count as 0."""
    if mask.is_full and len(numbers) > 1 and backend.are_alike(flat, layout, numbers):
        # A constant tensor, whose channels are all close, must not be slow.
        return np.repeat(exact_channel_sums(backend, flat, mask, layout, numbers[:1], norm), len(numbers))
    lots, found = _parts(backend, flat, mask, layout, numbers, norm)
    return np.concatenate([norms.rounded_once(list(islice(found, len(_spans(layout))))) for _ in lots])


def exact_channel_parts(  # noqa: PLR0913, PLR0917
    backend: Backend, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> Floats:
    """Return a few numbers for each of the channels `numbers`, a row each, whose sum is exactly that of its terms."""
    lots, found = _parts(backend, flat, mask, layout, numbers, norm)
    rows = [np.concatenate(list(islice(found, len(_spans(layout)))), axis=1) for _ in lots]
    parts = np.zeros((len(numbers), max(row.shape[1] for row in rows)))
    begin = 0
    for row in rows:
        parts[begin : begin + len(row), : row.shape[1]] = row
        begin += len(row)
    return parts


def _parts(  # noqa: PLR0913, PLR0917
    backend: Backend, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, norm: Norm
) -> tuple[list[Integers], Iterator[Floats]]:
    """Cut channels into lots that are summed at a time; return these, and the parts of each span of each lot."""
    step = max(1, _ENTRIES // layout.channel_entries)
    lots = [numbers[begin : begin + step] for begin in range(0, len(numbers), step)]

    def parts(item: tuple[Integers, tuple[int, int]]) -> Floats:
        return norms.exact_parts(np.abs(backend.channels(flat, mask, layout, *item)), norm)

    return lots, iter(in_parallel(parts, [(lot, span) for lot in lots for span in _spans(layout)]))


def _spans(layout: ChannelLayout) -> list[tuple[int, int]]:
    return pieces(layout.channel_entries, _ENTRIES)
