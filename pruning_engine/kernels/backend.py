"""What the engine asks of the machine: masks, keys and norms over one flat tensor. Two backends do it.

`cpu/` computes on host memory with numpy and the engine's threads; `cuda/` does the same with torch operations on a
device. Both compute the same bits. Tensors are flat buffers: `Buffer` on the host, `DeviceBuffer` on a device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.relative import RelativeFactors
from pruning_engine.norm import Norm

AnyBuffer: TypeAlias = Any
"""A `Buffer`, or a `DeviceBuffer`, which this module cannot name: it imports no torch."""

Flat: TypeAlias = Any
"""A buffer of one dim, in the memory that the backend computes in."""

Values: TypeAlias = Any
"""What is ranked: a flat buffer, or `ScaledWeights`, codes in such a buffer and their scales."""

Integers: TypeAlias = npt.NDArray[Any]
"""numpy's unsigned integers of some width, or positions."""

Floats: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


RUN_ENTRIES: Final = 16
"""Entries that are sampled together: one cache line of fp32, since memory is read in no smaller parts."""

DEVICE_PIECE_ENTRIES: Final = 1 << 24
"""Entries that one pass of a device's kernels takes at a time: their temporary tensors have as many."""


class NotBinaryError(Exception):
    """A mask holds something other than 0 and 1."""


@dataclass(frozen=True, slots=True)
class Split:
    """What one pass over a piece found about a bracket of keys, `low` to `high`, both included.

    `kept` counts unpruned entries whose key is `low` or more. `inside` counts those in the bracket; `positions` (from
    the piece's begin) and `keys` are theirs, None if the bracket is a single key.
    """

    kept: int
    inside: int
    positions: Integers | None
    keys: Integers | None
    has_nan: bool

    def dropped(self, cut: int, quota: int) -> Integers:
        """Return the positions of what was collected below `cut`, and of the first `quota` entries at it."""
        if self.keys is None or self.positions is None:
            return np.empty(0, np.uint32)
        is_dropped = self.keys < cut
        if quota:
            is_dropped[np.flatnonzero(self.keys == cut)[:quota]] = True
        dropped: Integers = self.positions[is_dropped]
        return dropped

    def dropped_at(self, cut: int, quota: int) -> int:
        """Return how many of what was collected have the key `cut`, at most `quota`."""
        return 0 if self.keys is None else min(quota, int(np.count_nonzero(self.keys == cut)))


@dataclass(frozen=True, slots=True)
class Least:
    """The mask without the least candidates of a tensor, the largest key that was pruned, and whether one is NaN."""

    kept: PackedMask
    largest_pruned: int
    has_nan: bool


class Candidates(Protocol):
    """The entries of one tensor that can be pruned, by integer keys in the order of their importance.

    `entries` counts all, `unpruned` those that no mask has pruned: only they are candidates. `highest` is no smaller
    than any key. With `is_uniform` any key from 0 to it is equally likely, so that no sample is needed.
    """

    entries: int
    unpruned: int
    highest: int
    is_uniform: bool

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends; pieces begin at multiples of 8."""
        ...

    def blank(self) -> PackedMask:
        """Return a mask to be filled, piece by piece."""
        ...

    def sample(self, stride: int, seed: int) -> Integers:
        """Return the keys of the candidates in runs of RUN_ENTRIES, one of `stride`, drawn with a 64-bit seed.

        A last short run is never drawn.
        """
        ...

    def everything(self) -> Integers:
        """Return the keys of all candidates."""
        ...

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys of entries from `begin` to `end`, 0 where pruned."""
        ...

    def least(self, count: int, stride: int) -> Least | None:
        """Prune the `count` least, at least one and not all, in one step; None if that has to be done in several.

        `stride`: of how many runs one is sampled.
        """
        ...

    def split(self, piece: tuple[int, int], low: int, high: int, kept: PackedMask) -> Split:
        """Write into `kept` which candidates of a piece have keys of `low` or more, and look into the bracket."""
        ...

    def largest(self, piece: tuple[int, int]) -> int:
        """Return the largest key of the candidates of a piece; 0 if it has none."""
        ...

    def nth_least(self, keys: Integers, rank: int) -> tuple[int, int]:
        """Return the key of a rank, from 0, among collected ones, and how many equal ones are of smaller rank.

        `keys` may be overwritten.
        """
        ...

    def drop(self, begin: int, split: Split, cut: int, quota: int, kept: PackedMask) -> int:
        """Clear the bits of what was collected from `begin` on below `cut`, and of the first `quota` entries at it.

        Return how many were cleared at the cut.
        """
        ...

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: PackedMask) -> None:
        """Clear the bits of the first `count` candidates of a piece that have this key."""
        ...

    def is_nan(self, key: int) -> bool:
        """Whether entries of this key are NaN."""
        ...

    def in_groups(self, layout: GroupLayout) -> "GroupedCandidates":
        """Return the candidates in groups."""
        ...


@dataclass(frozen=True, slots=True)
class GroupCut:
    """The largest key that was pruned in some groups (None if none was), and whether a candidate was NaN."""

    largest_pruned: int | None
    has_nan: bool


class GroupedCandidates(Protocol):
    """The candidates of one tensor in groups of entries that compete. A piece is a range of groups."""

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends."""
        ...

    def blank(self) -> Any:
        """Return what `prune` marks kept entries in."""
        ...

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: Any) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece; among equal entries of a group the first are pruned.

        `to_prune`: how many of a group's candidates out of its entries to prune. With NaN nothing is marked.
        """
        ...

    def packed(self, kept: Any) -> PackedMask:
        """Return the mask of what `prune` has marked in every piece."""
        ...


class Backend(Protocol):
    """Masks, candidates and norms over flat tensors of one device, which `device` names as torch does."""

    device: str

    def load(self, tensor: AnyBuffer) -> Flat:
        """Return a tensor flat in C order on this device: the same memory, where it has that order there."""
        ...

    def copy(self, flat: Flat, out: AnyBuffer) -> None:
        """Write a flat tensor's entries into a buffer of any device."""
        ...

    def empty(self, dtype: str, entries: int) -> Flat:
        """Return a flat tensor to be filled."""
        ...

    def pack(self, mask: Flat) -> PackedMask:
        """Pack a flat mask of any real dtype. Raises: NotBinaryError if it holds anything but 0 and 1."""
        ...

    def unpack(self, mask: PackedMask) -> Flat:
        """Return the flat boolean mask."""
        ...

    def bits(self, mask: PackedMask) -> Flat:
        """Return the mask's bits as a flat U8 tensor."""
        ...

    def from_bits(self, bits: Flat, entries: int) -> PackedMask:
        """Return the mask of `entries` entries that a flat U8 tensor holds."""
        ...

    def count(self, mask: PackedMask) -> int:
        """Count the entries that a mask keeps."""
        ...

    def nonzero(self, flat: Flat) -> PackedMask:
        """Mark the entries that are not zero (NaN is not, -0.0 is)."""
        ...

    def count_nonzero(self, flat: Flat, mask: PackedMask) -> int:
        """Count the entries that a mask keeps and that are not zero."""
        ...

    def apply(self, flat: Flat, mask: PackedMask, out: Flat) -> None:
        """Write into `out` (which may be `flat`) the entries that are kept, and +0.0 for the others."""
        ...

    def magnitudes(self, flat: Values, domain: str, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by magnitude, compared as values of `domain`.

        That of scaled weights is F64.
        """
        ...

    def products(
        self, flat: Values, factors: npt.NDArray[Any], layout: ChannelLayout, domain: str, mask: PackedMask
    ) -> Candidates:
        """Return the unpruned entries as candidates by magnitude times the factor of their channel.

        A multiple of `layout.channels` factors is for that many equal parts of the tensor, one after the other.
        Products are computed in `domain`, F32 or F64 (of scaled weights F64); factors are finite numbers from 0.
        """
        ...

    def line_sums(
        self, flat: Values, mask: PackedMask, shape: tuple[int, int, int], unit: float
    ) -> tuple[Floats, Floats]:
        """Return the sums of |x| of the rows and of the columns of matrices, in fp64; pruned entries count as 0.

        Each |x| is rounded to a multiple of `unit`, a power of 2 with which the sums are exact (see relative.py).
        Shape: (matrices, rows, columns) to (matrices, rows) and (matrices, columns), in host memory.
        """
        ...

    def relative(self, flat: Values, factors: RelativeFactors, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by |x| times its factor, computed in fp64."""
        ...

    def random(self, key: int, mask: PackedMask) -> Candidates:
        """Return the unpruned entries as candidates by random scores (see random_keys.py)."""
        ...

    def norms(self, flat: Values, mask: PackedMask, layout: ChannelLayout, norm: Norm) -> Floats:
        """Return what ranks each channel, in fp64: see channel_norms.py. Pruned entries count as 0."""
        ...

    def channels(
        self, flat: Values, mask: PackedMask, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Return some channels' entries, those of `span` within each, in fp64, a row each, 0 where pruned."""
        ...

    def are_alike(self, flat: Values, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether some channels, in ascending order, hold the same entries; False where that is not known."""
        ...

    def unpruned_channels(self, mask: PackedMask, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an unpruned entry."""
        ...

    def spread(self, channels: BoolArray, mask: PackedMask, layout: ChannelLayout) -> PackedMask:
        """Return the mask of the unpruned entries of the marked channels."""
        ...

    def take(self, tensor: AnyBuffer, dim: int, positions: Integers, *, in_place: bool = False) -> AnyBuffer:
        """Return some positions along a dim, ascending; with `in_place` the tensor's own memory may hold them."""
        ...
