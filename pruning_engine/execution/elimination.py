"""Entries whose score eliminates columns: what is pruned first decides what pruning the rest costs, so that there is
no ranking of all entries. The granularity says how many are pruned where.
"""

from collections.abc import Sequence

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels.input_matrix import flags_of
from pruning_engine.recipe import Rule
from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.outcome import Outcome


class EliminationRanking:
    """Prunes each tensor by itself."""

    reports: Sequence[GroupReport] = ()

    def __init__(self, context: RankingContext, granularity: Granularity) -> None:
        self._context = context
        self._granularity = granularity

    def observe(self, parameter: ArrivedParameter) -> None:
        """Nothing is sampled: each tensor is decided by itself."""

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Eliminate the columns of each tensor. Raises: CheckpointError; MismatchError for a count too large."""
        return [self._outcome(parameter) for parameter in parameters]

    def _outcome(self, parameter: ArrivedParameter) -> Outcome:
        flags = parameter.layer.layout.to_matrices(flags_of(parameter.mask, parameter.backend))
        return self._context.score.eliminated(parameter, self._granularity.choices(self._context, flags))


def ranking_of(rule: Rule, context: RankingContext) -> Ranking:
    """Return a rule at work: an elimination where its score eliminates columns, else its granularity's ranking."""
    if rule.score.eliminates and rule.granularity.prunes_entries:
        return EliminationRanking(context, rule.granularity)
    return rule.granularity.ranking(context)
