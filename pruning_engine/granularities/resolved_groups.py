"""Groups of coupled channels as they are in a checkpoint's tensors. Frozen values of names and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Positions: TypeAlias = npt.NDArray[np.int64]
"""Places along a dim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSlice:
    """Where a group's units are in one parameter; see `channel_groups.ChannelSlice`.

    `scored`: its entries count in a unit's importance. `is_zeroed`: they are pruned where the output format has zeros;
    those of running statistics are not. `is_input`: they are input channels of their tensor; None: not known.
    `is_consumer`: and a rule uses their statistics.
    """

    parameter: str
    shape: tuple[int, ...]
    dim: int
    units: int
    offset: int
    outer: int
    inner: int
    indices: tuple[int, ...]
    scored: bool
    is_zeroed: bool
    is_input: bool | None = None
    is_consumer: bool = False

    @property
    def place(self) -> tuple[object, ...]:
        """What identifies it: where its units are."""
        return self.parameter, self.dim, self.units, self.offset, self.outer, self.inner, self.indices

    @property
    def unit_positions(self) -> int:
        """Positions of the dim that one unit owns."""
        return self.outer * self.inner

    @property
    def unit_entries(self) -> int:
        """Entries that one unit owns."""
        return self.unit_positions * prod(size for at, size in enumerate(self.shape) if at != self.dim)

    def positions(self) -> Positions:
        """Return the positions of each unit, one row per unit."""
        if self.indices:
            return np.array(self.indices, np.int64).reshape(self.units, self.inner)
        span = np.arange(self.offset, self.offset + self.units * self.unit_positions, dtype=np.int64)
        rows: Positions = span.reshape(self.outer, self.units, self.inner).swapaxes(0, 1).reshape(self.units, -1)
        return rows

    def has_whole_blocks(self, block: int) -> bool:
        """Whether each unit's positions are whole blocks of `block` consecutive positions, counted from 0."""
        if self.inner % block:
            return False
        if not self.indices:
            return self.offset % block == 0
        blocks = np.array(self.indices, np.int64).reshape(-1, block)
        first = blocks[:, :1]
        return bool((first % block == 0).all() and (blocks == first + np.arange(block)).all())

    def runs(self) -> list[tuple[int, int]]:
        """Return the runs of positions that its units own, from begin to end, ascending."""
        if not self.indices:
            return [(self.offset, self.offset + self.units * self.unit_positions)]
        places = np.sort(np.array(self.indices, np.int64))
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        return [(int(run[0]), int(run[-1]) + 1) for run in np.split(places, cuts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGroup:
    """A group found in a checkpoint. `width_key`: groups of an equal one keep the same number of units; None: alone."""

    name: str
    units: int
    ties: tuple[ResolvedSlice, ...]
    config: Mapping[str, int]
    width_key: object | None

    @property
    def place(self) -> tuple[object, ...]:
        """What identifies it: where its units are."""
        return tuple(tie.place for tie in self.ties)

    @property
    def place_name(self) -> str:
        """Where unit 0 begins, `TENSOR:DIM:POSITION`: unique, while several groups may have one name."""
        first = self.ties[0]
        return f"{first.parameter}:{first.dim}:{first.indices[0] if first.indices else first.offset}"

    @property
    def scored_entries(self) -> int:
        """Entries of one unit that count in its importance."""
        return sum(tie.unit_entries for tie in self.ties if tie.scored)

    @property
    def sort_key(self) -> bytes:
        """The order in which equal units of several groups are pruned."""
        return self.name.encode()
