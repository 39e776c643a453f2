"""Groups of coupled channels as they are in a checkpoint's tensors. Frozen values of names and shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.report import GroupReport

Positions: TypeAlias = npt.NDArray[np.int64]
"""Places along a dim."""

Flags: TypeAlias = npt.NDArray[np.bool_]
"""One truth for each unit."""


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
class NumberedTensors:
    """Tensors that the units of a group own whole, by one tie.

    `tie`: its full name, with `{unit}` in the place of the number. `begin`: what comes before the number. `owned`: the
    parameters of each unit. `scored`: those that count in a unit's importance, and their entries.
    """

    tie: str
    begin: str
    owned: Mapping[int, tuple[str, ...]]
    scored: Mapping[str, int]

    @property
    def unit_entries(self) -> int:
        """Entries that count of the unit that has most."""
        return max((sum(self.scored.get(name, 0) for name in names) for names in self.owned.values()), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGroup:
    """A group found in a checkpoint.

    `width_key`: groups of an equal one keep the same number of units; None: alone. `numbered`: tensors that units own
    whole, beside `ties`. `keeps_numbers`: those that remain keep their numbers. `least_kept`: the least number of
    units that it keeps. `map`: the built-in map that found it; empty: none. `kept`: one byte for each unit, 1 = kept,
    if that is known before any data. `is_scored`: its tensors decide which units are pruned.
    """

    name: str
    units: int
    ties: tuple[ResolvedSlice, ...]
    config: Mapping[str, int]
    width_key: object | None
    numbered: tuple[NumberedTensors, ...] = ()
    keeps_numbers: bool = False
    least_kept: int = 1
    map: str = ""
    kept: bytes | None = None
    is_scored: bool = True

    @property
    def kept_flags(self) -> Flags:
        """Which units are kept, if that is known before any data. Shape: (units,)."""
        if self.kept is None:
            raise RuntimeError(f"which units of group {self.name!r} are kept depends on the data")
        return np.frombuffer(self.kept, np.bool_)

    @property
    def tie_names(self) -> tuple[str, ...]:
        """The names of its tensors, each once; numbered ones as their tie has them."""
        names = [each.tie for each in self.numbered] + [tie.parameter for tie in self.ties]
        return tuple(dict.fromkeys(names))

    @property
    def scored_names(self) -> tuple[str, ...]:
        """The names of the tensors that count in a unit's importance; numbered ones as their tie has them.

        Where statistics rank the units, these are the tensors that consume them.
        """
        if not self.is_scored:
            return ()
        consumers = tuple(dict.fromkeys(tie.parameter for tie in self.ties if tie.is_consumer))
        if consumers:
            return consumers
        numbered = [each.tie for each in self.numbered if each.scored]
        return tuple(dict.fromkeys(numbered + [tie.parameter for tie in self.ties if tie.scored]))

    @property
    def ranked_names(self) -> Iterator[str]:
        """The parameters that arrive before its units are chosen: those of its ties, and numbered ones that count."""
        yield from (tie.parameter for tie in self.ties)
        yield from (name for each in self.numbered for name in each.scored)

    @property
    def first_name(self) -> str:
        """The name of one of its tensors, for errors."""
        return self.tie_names[0]

    @property
    def place(self) -> tuple[object, ...]:
        """What identifies it: where its units are."""
        return (*(each.tie for each in self.numbered), *(tie.place for tie in self.ties))

    @property
    def place_name(self) -> str:
        """Where unit 0 begins, `TENSOR:DIM:POSITION`: unique, while several groups may have one name."""
        if not self.ties:
            return self.numbered[0].tie
        first = self.ties[0]
        return f"{first.parameter}:{first.dim}:{first.indices[0] if first.indices else first.offset}"

    @property
    def scored_entries(self) -> int:
        """Entries of one unit that count in its importance."""
        numbered = sum(each.unit_entries for each in self.numbered)
        return numbered + sum(tie.unit_entries for tie in self.ties if tie.scored)

    @property
    def sort_key(self) -> bytes:
        """The order in which equal units of several groups are pruned."""
        return self.name.encode()

    def report(self, rule: int, kept: Flags | None) -> GroupReport:
        """Return its report under a rule. `kept`: (units,), the units that are kept; None: not known yet."""
        numbers = () if kept is None else tuple(np.flatnonzero(kept).tolist())
        return GroupReport(
            rule=rule,
            name=self.name,
            units=self.units,
            kept=numbers,
            tensors=self.tie_names,
            config={name: count * len(numbers) for name, count in self.config.items()} if numbers else {},
            map=self.map,
            scored=self.scored_names,
        )
