"""A rule of units at work on groups that are decided together: which units fall in each, in all of its tensors.

    importance (unit_scores.py)  ->  how many each group keeps  ->  which (unit_order.py)  ->  masks, and what is left

Every group keeps one unit at the least. Units whose every entry was pruned before are the first to fall; where a group
keeps more units than are unpruned, for its number is rounded up, the last of those stay and hold zeros.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.ranking_context import RankingContext, norm_of
from pruning_engine.execution.unit_importance import Place, Scored, living_units, position_sums
from pruning_engine.execution.unit_order import ByChance, ByNorm, Order
from pruning_engine.granularities.channel_groups import is_running_statistic
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import Backend, BoolArray, Floats
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.recipe import Dead, Prior, Random, Scope, Units
from pruning_engine.report import GroupReport


class UnitRanking:
    """Units of some groups compete, each group for itself or all together."""

    def __init__(self, ranked: RankingContext, groups: Sequence[ResolvedGroup], backend: Backend) -> None:
        assert isinstance(ranked.rule.granularity, Units)  # noqa: S101 - else it is another ranking
        self._ranked = ranked
        self._round_to = ranked.rule.granularity.round_to
        self._groups = groups
        self._backend = backend
        self._norm = norm_of(ranked.rule)
        self._is_global = ranked.rule.scope is Scope.GLOBAL
        self._ranks_by_norm = not isinstance(ranked.rule.score, Random | Dead)
        self._tied = _tied(groups)
        self._scored: dict[str, Scored] = {}
        self._sums: dict[Place, Floats] = {}
        self._living: dict[Place, BoolArray] = {}
        self.reports: list[GroupReport] = []

    def observe(self, work: ParameterState) -> None:
        """Take note of a parameter that has come."""
        name = work.planned.name
        counts = not is_running_statistic(name)
        if counts and self._ranked.rule.prior is Prior.ZEROS:
            work.treat_zeros_as_pruned()
        for dim, ties in self._tied[name].items():
            if counts:
                self._living[name, dim] = self._living_positions(work, dim)
            scored = [tie for _, tie in ties if tie.scored]
            if scored and self._ranks_by_norm:
                self._sums[name, dim] = self._position_sums(work, dim, scored)

    def decide(self, states: Sequence[ParameterState]) -> None:
        """Let the least important units fall."""
        living = [living_units(group, self._living) for group in self._groups]
        order = self._order()
        choices = [
            self._choose(index, living[index], width, order) for index, width in enumerate(self._widths(living, order))
        ]
        kept = [flags for flags, _ in choices]
        for work in states:
            self._apply(work, kept)
        if self._ranks_by_norm:
            self._tell_thresholds(states, [largest for _, largest in choices])
        self.reports = [self._report(group, flags) for group, flags in zip(self._groups, kept, strict=True)]

    def _living_positions(self, work: ParameterState, dim: int) -> BoolArray:
        """Mark the positions along a dim that have an entry left; for the score `dead`, one that is not zero."""
        layout = channel_layout(work.planned.shape, dim)
        alive = work.nonzero() if isinstance(self._ranked.rule.score, Dead) else work.mask
        if alive is None or not layout.entries:
            return np.full(layout.channels, layout.channel_entries > 0)
        return self._backend.living_channels(alive, layout)

    def _position_sums(self, work: ParameterState, dim: int, ties: Sequence[ResolvedSlice]) -> Floats:
        """Sum along a dim, over what was sent: no earlier rule changes what a unit is worth."""
        by_scores = self._ranked.by_scores(work.planned) and work.scores is not None
        one = Scored(work.scores, None) if by_scores and work.scores is not None else Scored(work.weight, work.prior)
        self._scored[work.planned.name] = one
        sums = position_sums(self._backend, one, channel_layout(work.planned.shape, dim), self._norm)
        if any(np.isnan(sums[tie.positions()]).any() for tie in ties):
            self._ranked.refuse_nan(work.planned)
        return sums

    def _order(self) -> Order:
        if not self._ranks_by_norm:
            return ByChance(self._ranked, self._groups)
        return ByNorm(self._backend, self._groups, self._scored, self._sums, self._norm, is_mean=self._is_global)

    def _widths(self, living: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units each group keeps: one at least, rounded up, and the same where it must be."""
        numbers = self._numbers(living, order)
        widest: dict[object, int] = {}
        for group, number in zip(self._groups, numbers, strict=True):
            if group.width_key is not None:
                widest[group.width_key] = max(number, widest.get(group.width_key, 0))
        step, widths = self._round_to, []
        for group, number in zip(self._groups, numbers, strict=True):
            wanted = max(1, widest.get(group.width_key, number))
            widths.append(min(group.units, -(-wanted // step) * step))
        return widths

    def _numbers(self, living: Sequence[BoolArray], order: Order) -> list[int]:
        """How many units the amount leaves in each group."""
        alive = [int(np.count_nonzero(flags)) for flags in living]
        if isinstance(self._ranked.rule.score, Dead):
            return alive
        if not self._is_global:
            groups = zip(alive, self._groups, strict=True)
            return [count - self._ranked.falling(count, group.units, group.name) for count, group in groups]
        falling = self._ranked.falling(sum(alive), sum(group.units for group in self._groups))
        falls = order.least(dict(enumerate(living)), falling).falls
        if any(count and np.count_nonzero(falls[index]) == count for index, count in enumerate(alive)):
            others = {index: self._but_the_best(index, flags, order) for index, flags in enumerate(living)}
            most = sum(int(np.count_nonzero(flags)) for flags in others.values())
            falls = order.least(others, min(falling, most)).falls
        return [count - int(np.count_nonzero(falls[index])) for index, count in enumerate(alive)]

    @staticmethod
    def _but_the_best(index: int, living: BoolArray, order: Order) -> BoolArray:
        """Give the living units of a group but the most important one, which stays whatever happens."""
        count = int(np.count_nonzero(living))
        return order.least({index: living}, count - 1).falls[index] if count else living

    @staticmethod
    def _choose(index: int, living: BoolArray, width: int, order: Order) -> tuple[BoolArray, float | None]:
        """Choose the units of a group that are kept, and give the largest rank that fell."""
        falling = len(living) - width
        dead = np.flatnonzero(~living)
        kept = np.ones(len(living), np.bool_)
        kept[dead[:falling]] = False
        if falling <= len(dead):
            return kept, None
        least = order.least({index: living}, falling - len(dead))
        kept &= ~least.falls[index]
        return kept, least.largest

    def _apply(self, work: ParameterState, kept: Sequence[BoolArray]) -> None:
        for dim, ties in self._tied[work.planned.name].items():
            now = np.ones(work.planned.shape[dim], np.bool_)
            left = work.kept.setdefault(dim, now.copy())
            for index, tie in ties:
                now[tie.positions()] = left[tie.positions()] = kept[index][:, None]
            work.mask = self._backend.spread(now, work.mask, channel_layout(work.planned.shape, dim))

    def _tell_thresholds(self, states: Sequence[ParameterState], largest: Sequence[float | None]) -> None:
        everywhere = [rank for rank in largest if rank is not None]
        for work in states:
            here = {index for ties in self._tied[work.planned.name].values() for index, _ in ties}
            ranks = everywhere if self._is_global else [rank for index in here if (rank := largest[index]) is not None]
            work.threshold = norms.norm_of(max(ranks), self._norm) if ranks else None

    def _report(self, group: ResolvedGroup, kept: BoolArray) -> GroupReport:
        numbers = np.flatnonzero(kept).tolist()
        return GroupReport(
            rule=self._ranked.position,
            name=group.name,
            units=group.units,
            kept=tuple(numbers),
            tensors=tuple(dict.fromkeys(tie.parameter for tie in group.ties)),
            config={name: count * len(numbers) for name, count in group.config.items()},
        )


def _tied(groups: Sequence[ResolvedGroup]) -> Mapping[str, Mapping[int, list[tuple[int, ResolvedSlice]]]]:
    """Give by parameter and dim the ties there, each with its group's index."""
    found: dict[str, dict[int, list[tuple[int, ResolvedSlice]]]] = {}
    for index, group in enumerate(groups):
        for tie in group.ties:
            found.setdefault(tie.parameter, {}).setdefault(tie.dim, []).append((index, tie))
    return found
