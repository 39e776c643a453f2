"""Entries that compete only within parts of one tensor: its output channels, or its groups of m."""

from collections.abc import Callable, Sequence

from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.entries import NanKeyError
from pruning_engine.selection.groups import least_in_groups
from pruning_engine.selection.outcome import Outcome


class GroupRanking:
    """Prunes the least important entries of each group.

    `layout`: where the groups are. `to_prune`: how many of a group's unpruned entries out of its
    total to prune.
    """

    reports: Sequence[GroupReport] = ()

    def __init__(self, context: RankingContext, layout: GroupLayout, to_prune: Callable[[int, int], int]) -> None:
        self._context = context
        self._layout = layout
        self._to_prune = to_prune

    def observe(self, parameter: ArrivedParameter) -> None:
        """Nothing is sampled: each group is decided by itself."""

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important entries of each group; among equals, the first ones."""
        return [self._outcome(parameter) for parameter in parameters]

    def _outcome(self, parameter: ArrivedParameter) -> Outcome:
        score, scoring = self._context.score, self._context.scoring()
        candidates = score.candidates(parameter, scoring)
        try:
            least = least_in_groups(candidates, self._layout, self._to_prune)
        except NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        is_ranked, key = not score.is_random, least.largest_pruned
        threshold = magnitude_of(key, scoring.domain) if is_ranked and key is not None else None
        return Outcome(least.kept, is_ranked=is_ranked, threshold=threshold)
