"""What the engine asks of the machine: masks, keys and norms over one flat tensor. Two backends give it.

`numpy_backend.py` works on CPU tensors with numpy and the engine's threads; `torch_backend.py` does the same with
torch operations on any device. Both give the same bits.

Masks are packed everywhere: uint8, flat in C order, little bit order, 1 = kept, spare bits 0. So they take 1/32 of
fp32 weights, combine eight entries at a time, and are what the wire carries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.norm import Norm

Bits: TypeAlias = torch.Tensor
"""A packed mask."""

Integers: TypeAlias = npt.NDArray[Any]
"""numpy's unsigned integers of some width, or positions."""

Floats: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


RUN_ENTRIES: Final = 16
"""Entries that are sampled together: one cache line of fp32, for memory gives no less than that."""


class NotBinaryError(Exception):
    """A mask holds something other than 0 and 1."""


@dataclass(frozen=True, slots=True)
class Split:
    """What one pass over a piece found about a bracket of keys, `low` to `high`, both included.

    `kept` counts alive entries whose key is `low` or more. `inside` counts those in the bracket; `positions` (from
    the piece's begin) and `keys` are theirs, None if the bracket is a single key.
    """

    kept: int
    inside: int
    positions: Integers | None
    keys: Integers | None
    has_nan: bool


class Candidates(Protocol):
    """The entries of one tensor that compete, by integer keys in the order of their importance.

    `size` counts all entries, `alive` those that no mask has pruned: only they compete. `highest` is no smaller
    than any key.
    """

    size: int
    alive: int
    highest: int

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Where each piece begins and ends; pieces begin at multiples of 8."""
        ...

    def blank(self) -> Bits:
        """Give a mask to be filled, piece by piece."""
        ...

    def sample(self, runs: Integers) -> Integers:
        """Give the keys of the alive entries in runs of RUN_ENTRIES, by their numbers; a last short run has none."""
        ...

    def everything(self) -> Integers:
        """Give the keys of all alive entries."""
        ...

    def split(self, piece: tuple[int, int], low: int, high: int, kept: Bits) -> Split:
        """Write into `kept` which alive entries of a piece have keys of `low` or more, and look into the bracket."""
        ...

    def largest(self, piece: tuple[int, int]) -> int:
        """Give the largest key of the alive entries of a piece; 0 if there are none."""
        ...

    def drop(self, begin: int, positions: Integers, kept: Bits) -> None:
        """Clear the bits of entries at `positions` from `begin`."""
        ...

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: Bits) -> None:
        """Clear the bits of the first `count` alive entries of a piece that have this key."""
        ...

    def is_nan(self, key: int) -> bool:
        """Whether a key stands for NaN."""
        ...


class Backend(Protocol):
    """Masks, contenders and norms over flat tensors of one device."""

    device: torch.device

    def pack(self, mask: torch.Tensor) -> Bits:
        """Pack a flat mask of any real dtype. Raises: NotBinaryError if it holds anything but 0 and 1."""
        ...

    def unpack(self, bits: Bits, size: int) -> torch.Tensor:
        """Give the flat boolean mask."""
        ...

    def count(self, bits: Bits) -> int:
        """Count the ones."""
        ...

    def nonzero(self, flat: torch.Tensor) -> Bits:
        """Mark the entries that are not zero (NaN is not, -0.0 is)."""
        ...

    def apply(self, flat: torch.Tensor, bits: Bits, out: torch.Tensor) -> None:
        """Write into `out` (which may be `flat`) the entries that are kept, and +0.0 for the others."""
        ...

    def magnitudes(self, flat: torch.Tensor, domain: torch.dtype, alive: Bits | None) -> Candidates:
        """Let entries compete by magnitude, compared as values of `domain`."""
        ...

    def random(self, key: int, size: int, alive: Bits | None) -> Candidates:
        """Let entries compete by random scores (see random_scores.py)."""
        ...

    def norms(self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, norm: Norm) -> Floats:
        """Give what ranks each channel, in fp64: see norms.py. Entries that are not alive count as 0."""
        ...

    def channels(
        self, flat: torch.Tensor, alive: Bits | None, layout: ChannelLayout, numbers: Integers, span: tuple[int, int]
    ) -> Floats:
        """Give some channels' entries, those of `span` within each, in fp64, a row each, 0 where not alive."""
        ...

    def are_alike(self, flat: torch.Tensor, layout: ChannelLayout, numbers: Integers) -> bool:
        """Whether some channels, in ascending order, hold the same entries; False where that is not known."""
        ...

    def living_channels(self, alive: Bits, layout: ChannelLayout) -> BoolArray:
        """Mark the channels that have an alive entry."""
        ...

    def spread(self, channels: BoolArray, alive: Bits | None, layout: ChannelLayout) -> Bits:
        """Give the mask of the alive entries of the marked channels."""
        ...
