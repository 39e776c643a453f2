"""A rule of coupled channels at work: which units of its groups are pruned, in all tensors of each group.

    importance (unit_importance.py)  ->  how many each group keeps  ->  which (unit_order.py)  ->  masks and positions

Every group keeps at least one unit. Units whose every entry was pruned before are pruned first; where a group keeps
more units than are unpruned, because its number is rounded up, the last of those stay and hold zeros.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pruning_engine.granularities.channel_groups import is_running_statistic
from pruning_engine.granularities.consumers import inputs_of
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.granularities.unit_importance import Place, Scored, position_sums, unpruned_units
from pruning_engine.granularities.unit_order import ByChance, ByNorm, ByRanks, Order
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import BoolArray, Floats
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank
from pruning_engine.selection.outcome import Outcome


class UnitRanking:
    """Prunes units, of each group alone or of all groups together."""

    def __init__(self, granularity: Granularity, context: RankingContext, round_to: int) -> None:
        self._granularity = granularity
        self._context = context
        self._round_to = round_to
        self._groups = context.groups
        self._backend = context.backend
        self._norm = context.norm
        self._is_global = context.is_global
        self._ranks_units = context.score.ranks_units
        self._ranks_by_norm = context.ranks_by_norm and not self._ranks_units
        self._coupled = _coupled_slices(context.groups)
        self._scored: dict[str, Scored] = {}
        self._sums: dict[Place, Floats] = {}
        self._unpruned: dict[Place, BoolArray] = {}
        self.reports: list[GroupReport] = []

    def observe(self, state: ArrivedParameter) -> None:
        """Take note of a parameter that has arrived."""
        name = state.planned.name
        counts = not is_running_statistic(name)
        for dim, ties in self._coupled[name].items():
            if counts:
                self._unpruned[name, dim] = self._unpruned_positions(state, dim)
            scored = [tie for _, tie in ties if tie.scored]
            if scored and self._ranks_by_norm:
                self._sums[name, dim] = self._position_sums(state, dim, scored)

    def decide(self, states: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important units, in all of their tensors."""
        unpruned = [unpruned_units(group, self._unpruned) for group in self._groups]
        order = self._order(states, unpruned)
        choices = [
            self._choose(index, unpruned[index], width, order)
            for index, width in enumerate(self._widths(unpruned, order))
        ]
        kept = [flags for flags, _ in choices]
        self.reports = [self._report(group, flags) for group, flags in zip(self._groups, kept, strict=True)]
        largest = [largest for _, largest in choices]
        anywhere = self._reported(largest)
        return [
            self._outcome(state, kept, anywhere if self._is_global else self._threshold(state, largest))
            for state in states
        ]

    def _unpruned_positions(self, state: ArrivedParameter, dim: int) -> BoolArray:
        """Mark the positions along a dim that have an unpruned entry; without a ranking, one that is not zero."""
        layout = channel_layout(state.planned.shape, dim)
        mask = state.mask if self._context.score.ranks else state.nonzero()
        return self._backend.unpruned_channels(mask, layout)

    def _position_sums(self, state: ArrivedParameter, dim: int, ties: Sequence[ResolvedSlice]) -> Floats:
        """Sum along a dim, over what was sent: no earlier rule changes what a unit is worth."""
        suffix = self._context.score.ranked(state.planned.auxiliary)
        if suffix is None:
            one = Scored(state.values, state.prior)
        else:
            one = Scored(state.auxiliary(suffix), PackedMask.full(state.planned.entries))
        self._scored[state.planned.name] = one
        sums = position_sums(self._backend, one, channel_layout(state.planned.shape, dim), self._norm)
        if any(np.isnan(sums[tie.positions()]).any() for tie in ties):
            self._context.score.refuse_nan(state.planned, self._context.position)
        return sums

    def _order(self, states: Sequence[ArrivedParameter], unpruned: Sequence[BoolArray]) -> Order:
        if self._ranks_units:
            arrived = {state.planned.name: state for state in states}
            return ByRanks(
                [self._ranks(group, flags, arrived) for group, flags in zip(self._groups, unpruned, strict=True)]
            )
        if not self._ranks_by_norm:
            return ByChance(self._context, self._groups)
        return ByNorm(self._backend, self._groups, self._scored, self._sums, self._norm, is_mean=self._is_global)

    def _ranks(self, group: ResolvedGroup, unpruned: BoolArray, arrived: Mapping[str, ArrivedParameter]) -> UnitRanks:
        return self._context.score.unit_ranks(
            UnitsToRank(
                inputs=inputs_of(group, arrived),
                first=arrived[group.ties[0].parameter],
                gone=~unpruned,
                is_global=self._is_global,
            )
        )

    def _widths(self, unpruned: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units each group keeps: one at least, rounded up, and the same where it must be."""
        numbers = self._numbers(unpruned, order)
        widest: dict[object, int] = {}
        for group, number in zip(self._groups, numbers, strict=True):
            if group.width_key is not None:
                widest[group.width_key] = max(number, widest.get(group.width_key, 0))
        step, widths = self._round_to, []
        for group, number in zip(self._groups, numbers, strict=True):
            wanted = max(1, widest.get(group.width_key, number))
            widths.append(min(group.units, -(-wanted // step) * step))
        return widths

    def _numbers(self, unpruned: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units the amount leaves in each group."""
        counts = [int(np.count_nonzero(flags)) for flags in unpruned]
        if not self._context.score.ranks:
            return counts
        if not self._is_global:
            groups = zip(counts, self._groups, strict=True)
            return [count - self._count(count, group.units, group.name) for count, group in groups]
        to_prune = self._count(sum(counts), sum(group.units for group in self._groups))
        pruned = order.least(dict(enumerate(unpruned)), to_prune).pruned
        if any(count and np.count_nonzero(pruned[index]) == count for index, count in enumerate(counts)):
            others = {index: self._but_the_best(index, flags, order) for index, flags in enumerate(unpruned)}
            most = sum(int(np.count_nonzero(flags)) for flags in others.values())
            pruned = order.least(others, min(to_prune, most)).pruned
        return [count - int(np.count_nonzero(pruned[index])) for index, count in enumerate(counts)]

    def _count(self, unpruned: int, total: int, group: str | None = None) -> int:
        return self._granularity.count_to_prune(self._context, unpruned, total, group)

    @staticmethod
    def _but_the_best(index: int, unpruned: BoolArray, order: Order) -> BoolArray:
        """Return the unpruned units of a group but the most important one, which always stays."""
        count = int(np.count_nonzero(unpruned))
        return order.least({index: unpruned}, count - 1).pruned[index] if count else unpruned

    @staticmethod
    def _choose(index: int, unpruned: BoolArray, width: int, order: Order) -> tuple[BoolArray, float | None]:
        """Choose the units of a group that are kept, and return the largest rank that was pruned."""
        to_prune = len(unpruned) - width
        pruned_before = np.flatnonzero(~unpruned)
        kept = np.ones(len(unpruned), np.bool_)
        kept[pruned_before[:to_prune]] = False
        if to_prune <= len(pruned_before):
            return kept, None
        least = order.least({index: unpruned}, to_prune - len(pruned_before))
        kept &= ~least.pruned[index]
        return kept, least.largest

    def _outcome(self, state: ArrivedParameter, kept: Sequence[BoolArray], threshold: float | None) -> Outcome:
        mask, remaining = state.mask, {}
        for dim, ties in self._coupled[state.planned.name].items():
            now = np.ones(state.planned.shape[dim], np.bool_)
            left = remaining[dim] = state.kept[dim].copy() if dim in state.kept else now.copy()
            for index, tie in ties:
                now[tie.positions()] = left[tie.positions()] = kept[index][:, None]
            mask = self._backend.spread(now, mask, channel_layout(state.planned.shape, dim))
        is_ranked = self._ranks_by_norm or self._ranks_units
        return Outcome(mask, is_ranked=is_ranked, threshold=threshold, kept=remaining)

    def _threshold(self, state: ArrivedParameter, largest: Sequence[float | None]) -> float | None:
        """Return the largest rank that was pruned in the groups of a parameter, or the norm that it is the sum of."""
        here = {index for ties in self._coupled[state.planned.name].values() for index, _ in ties}
        return self._reported([largest[index] for index in here])

    def _reported(self, largest: Sequence[float | None]) -> float | None:
        ranks = [rank for rank in largest if rank is not None]
        if self._ranks_units:
            return max(ranks, default=None)
        return norms.norm_of(max(ranks), self._norm) if ranks else None

    def _report(self, group: ResolvedGroup, kept: BoolArray) -> GroupReport:
        numbers = np.flatnonzero(kept).tolist()
        return GroupReport(
            rule=self._context.position,
            name=group.name,
            units=group.units,
            kept=tuple(numbers),
            tensors=tuple(dict.fromkeys(tie.parameter for tie in group.ties)),
            config={name: count * len(numbers) for name, count in group.config.items()},
        )


def _coupled_slices(groups: Sequence[ResolvedGroup]) -> Mapping[str, Mapping[int, list[tuple[int, ResolvedSlice]]]]:
    """Return by parameter and dim the ties there, each with its group's index."""
    found: dict[str, dict[int, list[tuple[int, ResolvedSlice]]]] = {}
    for index, group in enumerate(groups):
        for tie in group.ties:
            found.setdefault(tie.parameter, {}).setdefault(tie.dim, []).append((index, tie))
    return found
