"""How many units each group keeps, and which: from those that are unpruned, an order of them, and an amount.

Every group keeps `least_kept` units at least, or all where it has no more, and those that are always kept among them.
Units whose every entry was pruned before are pruned first; where a group keeps more units than are unpruned, because
its number is rounded up, the last of those stay and hold zeros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.unit_order import Order
from pruning_engine.kernels.backend import BoolArray


@dataclass(frozen=True, slots=True)
class Widths:
    """What the number of units that a group keeps is a multiple of, in how many blocks it keeps as many, and which it
    keeps in any case.
    """

    round_to: int
    balanced_blocks: int
    always_kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which units of a group are kept, and the largest rank that was pruned; None: no unit, or no rank."""

    kept: BoolArray
    largest: float | None


class UnitChoice:
    """The units of one rule's groups that compete or are decided together."""

    def __init__(self, granularity: Granularity, widths: Widths, context: RankingContext) -> None:
        self._granularity = granularity
        self._widths = widths
        self._context = context
        self._groups = context.groups
        self._stays = [_flags(group.units, widths.always_kept) for group in context.groups]

    def made(self, unpruned: Sequence[BoolArray], order: Order) -> list[Chosen]:
        """Return what is kept of each group. Raises: MismatchError for a count above what is unpruned."""
        counted = [flags | stays for flags, stays in zip(unpruned, self._stays, strict=True)]
        widths = self._kept_numbers(counted, order)
        return [self._choose(index, counted[index], width, order) for index, width in enumerate(widths)]

    def most_pruned(self, index: int, unpruned: BoolArray) -> int | None:
        """Return how many units of a group are pruned at most, those of before included; None: any number."""
        if self._context.is_global or self._widths.balanced_blocks > 1 or self._widths.always_kept:
            return None
        group, count = self._groups[index], int(np.count_nonzero(unpruned))
        return group.units - count + self._count(count, group.units, group.name)

    def _kept_numbers(self, unpruned: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units each group keeps: rounded up, and the same where it must be."""
        numbers = [max(at, self._least(index)) for index, at in enumerate(self._left(unpruned, order))]
        widest: dict[object, int] = {}
        for group, number in zip(self._groups, numbers, strict=True):
            if group.width_key is not None:
                widest[group.width_key] = max(number, widest.get(group.width_key, 0))
        step = lcm(self._widths.round_to, self._widths.balanced_blocks)
        wanted = [widest.get(group.width_key, at) for group, at in zip(self._groups, numbers, strict=True)]
        return [min(group.units, -(-at // step) * step) for group, at in zip(self._groups, wanted, strict=True)]

    def _least(self, index: int) -> int:
        group = self._groups[index]
        return min(group.units, max(group.least_kept, int(np.count_nonzero(self._stays[index]))))

    def _left(self, unpruned: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units the amount leaves in each group."""
        counts = [int(np.count_nonzero(flags)) for flags in unpruned]
        if not self._context.score.ranks:
            return counts
        if not self._context.is_global:
            groups = zip(counts, self._groups, strict=True)
            return [count - self._count(count, group.units, group.name) for count, group in groups]
        to_prune = self._count(sum(counts), sum(group.units for group in self._groups))
        candidates = {index: flags & ~self._stays[index] for index, flags in enumerate(unpruned)}
        pruned = order.least(candidates, min(to_prune, _number(candidates))).pruned
        least = [min(count, self._least(index)) for index, count in enumerate(counts)]
        if any(count - np.count_nonzero(pruned[index]) < least[index] for index, count in enumerate(counts)):
            others = {
                index: _but_the_best(index, flags, order, least[index] - int(np.count_nonzero(self._stays[index])))
                for index, flags in candidates.items()
            }
            pruned = order.least(others, min(to_prune, _number(others))).pruned
        return [count - int(np.count_nonzero(pruned[index])) for index, count in enumerate(counts)]

    def _count(self, unpruned: int, total: int, group: str | None = None) -> int:
        return self._granularity.count_to_prune(self._context, unpruned, total, group)

    def _choose(self, index: int, unpruned: BoolArray, width: int, order: Order) -> Chosen:
        """Choose the units of a group that are kept: the same number in each of its blocks."""
        blocks = self._widths.balanced_blocks
        size = len(unpruned) // blocks
        kept = np.ones(len(unpruned), np.bool_)
        largest: list[float] = []
        for begin in range(0, blocks * size, size):
            here = np.zeros(len(unpruned), np.bool_)
            here[begin : begin + size] = True
            found = self._choose_among(index, here, unpruned, size - width // blocks, order)
            kept &= found.kept
            largest += [] if found.largest is None else [found.largest]
        return Chosen(kept, max(largest, default=None))

    def _choose_among(self, index: int, here: BoolArray, unpruned: BoolArray, to_prune: int, order: Order) -> Chosen:
        """Choose which of the units that are `here` are pruned."""
        pruned_before = np.flatnonzero(here & ~unpruned)
        kept = np.ones(len(unpruned), np.bool_)
        kept[pruned_before[:to_prune]] = False
        if to_prune <= len(pruned_before):
            return Chosen(kept, None)
        candidates = here & unpruned & ~self._stays[index]
        least = order.least({index: candidates}, to_prune - len(pruned_before))
        return Chosen(kept & ~least.pruned[index], least.largest)


def _flags(units: int, numbers: Sequence[int]) -> BoolArray:
    """Return flags of the units with these numbers. Shape: (units,)."""
    flags = np.zeros(units, np.bool_)
    flags[list(numbers)] = True
    return flags


def _number(candidates: Mapping[int, BoolArray]) -> int:
    return sum(int(np.count_nonzero(flags)) for flags in candidates.values())


def _but_the_best(index: int, unpruned: BoolArray, order: Order, best: int) -> BoolArray:
    """Return the unpruned units of a group but the `best` most important ones, which always stay."""
    count = int(np.count_nonzero(unpruned))
    return order.least({index: unpruned}, count - max(best, 0)).pruned[index] if count else unpruned
