"""A rule of coupled channels at work: which units of its groups are pruned, in all tensors of each group.

    importance (unit_importance.py, unit_order.py)  ->  how many each group keeps, and which (unit_choice.py)
    ->  masks and positions

Units that own whole tensors (numbered ones) are ranked by the norms of these. Where the caller lists the units, nothing
is ranked.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pruning_engine.granularities.channel_groups import is_running_statistic
from pruning_engine.granularities.consumers import inputs_of, rows_of
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.granularities.unit_choice import Chosen, UnitChoice, Widths
from pruning_engine.granularities.unit_importance import (
    WHOLE,
    Place,
    Scored,
    position_sums,
    unpruned_units,
    whole_layout,
)
from pruning_engine.granularities.unit_order import ByChance, ByNorm, ByRanks, Order
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import BoolArray, Floats, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.unit_inputs import UnitRanks, UnitsToRank
from pruning_engine.selection.outcome import Outcome


class UnitRanking:
    """Prunes units, of each group alone or of all groups together."""

    def __init__(self, granularity: Granularity, context: RankingContext, widths: Widths) -> None:
        self._choice = UnitChoice(granularity, widths, context)
        self._context = context
        self._groups = context.groups
        self._backend = context.backend
        self._norm = context.norm
        self._is_global = context.is_global
        self._ranks_units = context.score.ranks_units
        self._ranks_by_norm = context.ranks_by_norm and not self._ranks_units
        self._is_known = all(group.kept is not None for group in context.groups)
        self._coupled = _coupled_slices(context.groups)
        self._owned = _owned_tensors(context.groups)
        self._scored: dict[str, Scored] = {}
        self._sums: dict[Place, Floats] = {}
        self._unpruned: dict[Place, BoolArray] = {}
        self._kept: list[BoolArray] = []

    @property
    def reports(self) -> Sequence[GroupReport]:
        """The units that were kept, group by group."""
        found = zip(self._groups, self._kept, strict=True)
        return [group.report(self._context.position, kept) for group, kept in found]

    def observe(self, state: ArrivedParameter) -> None:
        """Take note of a parameter that has arrived."""
        name = state.planned.name
        if self._is_known:
            return
        counts = not is_running_statistic(name)
        if name in self._owned:
            self._observe_owned(state)
        for dim, ties in self._coupled.get(name, {}).items():
            if counts:
                self._unpruned[name, dim] = self._unpruned_positions(state, dim)
            scored = [tie for _, tie in ties if tie.scored]
            if scored and self._ranks_by_norm:
                self._sums[name, dim] = self._position_sums(state, dim, scored)

    def decide(self, states: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important units, in all of their tensors."""
        choices = self._choices(states)
        kept = self._kept = [chosen.kept for chosen in choices]
        largest = [chosen.largest for chosen in choices]
        anywhere = self._reported(largest)
        return [
            self._outcome(state, kept, anywhere if self._is_global else self._threshold(state, largest))
            for state in states
        ]

    def _choices(self, states: Sequence[ArrivedParameter]) -> list[Chosen]:
        if self._is_known:
            return [Chosen(group.kept_flags, None) for group in self._groups]
        unpruned = [unpruned_units(group, self._unpruned) for group in self._groups]
        return self._choice.made(unpruned, self._order(states, unpruned))

    def _observe_owned(self, state: ArrivedParameter) -> None:
        """Take note of a tensor that one unit owns whole: as of one position."""
        name = state.planned.name
        layout = whole_layout(state.planned.entries)
        self._unpruned[name, WHOLE] = self._backend.unpruned_channels(state.mask, layout)
        if self._ranks_by_norm:
            self._sums[name, WHOLE] = self._sums_of(state, layout, np.zeros(1, np.int64))

    def _unpruned_positions(self, state: ArrivedParameter, dim: int) -> BoolArray:
        """Mark the positions along a dim that have an unpruned entry; without a ranking, one that is not zero."""
        layout = channel_layout(state.planned.shape, dim)
        mask = state.mask if self._context.score.ranks else state.nonzero()
        return self._backend.unpruned_channels(mask, layout)

    def _position_sums(self, state: ArrivedParameter, dim: int, ties: Sequence[ResolvedSlice]) -> Floats:
        """Sum along a dim."""
        positions = np.concatenate([tie.positions().reshape(-1) for tie in ties])
        return self._sums_of(state, channel_layout(state.planned.shape, dim), positions)

    def _sums_of(self, state: ArrivedParameter, layout: ChannelLayout, positions: Integers) -> Floats:
        """Sum over what was sent: no earlier rule changes what a unit is worth."""
        suffix = self._context.score.ranked(state.planned.auxiliary)
        if suffix is None:
            one = Scored(state.values, state.prior)
        else:
            one = Scored(state.auxiliary(suffix), PackedMask.full(state.planned.entries))
        self._scored[state.planned.name] = one
        sums = position_sums(self._backend, one, layout, self._norm)
        if np.isnan(sums[positions]).any():
            self._context.score.refuse_nan(state.planned, self._context.position)
        return sums

    def _order(self, states: Sequence[ArrivedParameter], unpruned: Sequence[BoolArray]) -> Order:
        if self._ranks_units:
            arrived = {state.planned.name: state for state in states}
            return ByRanks([self._ranks(index, flags, arrived) for index, flags in enumerate(unpruned)])
        if not self._ranks_by_norm:
            return ByChance(self._context, self._groups)
        return ByNorm(self._backend, self._groups, self._scored, self._sums, self._norm, is_mean=self._is_global)

    def _ranks(self, index: int, unpruned: BoolArray, arrived: Mapping[str, ArrivedParameter]) -> UnitRanks:
        group = self._groups[index]
        return self._context.score.unit_ranks(
            UnitsToRank(
                group=group.name,
                inputs=inputs_of(group, arrived),
                first=arrived[group.ties[0].parameter],
                gone=~unpruned,
                is_global=self._is_global,
                most=self._choice.most_pruned(index, unpruned),
                rows=rows_of(group, arrived) if self._context.score.ranks_gated_units else (),
            )
        )

    def _outcome(self, state: ArrivedParameter, kept: Sequence[BoolArray], threshold: float | None) -> Outcome:
        mask, remaining = state.mask, {}
        if state.planned.name in self._owned:
            index, unit = self._owned[state.planned.name]
            mask = self._backend.spread(kept[index][unit : unit + 1], mask, whole_layout(state.planned.entries))
        for dim, ties in self._coupled.get(state.planned.name, {}).items():
            now = np.ones(state.planned.shape[dim], np.bool_)
            left = remaining[dim] = state.kept[dim].copy() if dim in state.kept else now.copy()
            for index, tie in ties:
                now[tie.positions()] = left[tie.positions()] = kept[index][:, None]
            mask = self._backend.spread(now, mask, channel_layout(state.planned.shape, dim))
        is_ranked = self._ranks_by_norm or self._ranks_units
        return Outcome(mask, is_ranked=is_ranked, threshold=threshold, kept=remaining)

    def _threshold(self, state: ArrivedParameter, largest: Sequence[float | None]) -> float | None:
        """Return the largest rank that was pruned in the groups of a parameter, or the norm that it is the sum of."""
        here = {index for ties in self._coupled.get(state.planned.name, {}).values() for index, _ in ties}
        if state.planned.name in self._owned:
            here.add(self._owned[state.planned.name][0])
        return self._reported([largest[index] for index in here])

    def _reported(self, largest: Sequence[float | None]) -> float | None:
        ranks = [rank for rank in largest if rank is not None]
        if self._ranks_units:
            return max(ranks, default=None)
        return norms.norm_of(max(ranks), self._norm) if ranks else None


def _coupled_slices(groups: Sequence[ResolvedGroup]) -> Mapping[str, Mapping[int, list[tuple[int, ResolvedSlice]]]]:
    """Return by parameter and dim the ties there, each with its group's index."""
    found: dict[str, dict[int, list[tuple[int, ResolvedSlice]]]] = {}
    for index, group in enumerate(groups):
        for tie in group.ties:
            found.setdefault(tie.parameter, {}).setdefault(tie.dim, []).append((index, tie))
    return found


def _owned_tensors(groups: Sequence[ResolvedGroup]) -> Mapping[str, tuple[int, int]]:
    """Return by parameter the group and the unit that owns it whole, of those that count in the unit's importance."""
    return {
        name: (index, unit)
        for index, group in enumerate(groups)
        for tie in group.numbered
        for unit, names in tie.owned.items()
        for name in names
        if name in tie.scored
    }
