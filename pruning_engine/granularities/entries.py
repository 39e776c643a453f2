"""Single entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, TypeAlias

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.group_ranking import GroupRanking
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels.backend import Candidates, Integers
from pruning_engine.kernels.group_layout import groups_of_channels
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.report import GroupReport
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection import entries as selection
from pruning_engine.selection.outcome import Outcome

_Observed: TypeAlias = tuple[Candidates, Integers]
"""The candidates of a parameter, and a sample of their keys."""


@dataclass(frozen=True, slots=True)
class Entries(Granularity):
    """Single entries are pruned: torch's "unstructured"."""

    field: ClassVar[str] = "entries"
    prunes_entries: ClassVar[bool] = True

    def pieces(self, score: Score, shape: tuple[int, ...]) -> int:
        """Return the number of entries that compete: all, or those of one part if the score compares parts."""
        compared = score.compared(shape)
        return prod(shape) if compared is None else compared.channel_entries

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that prunes entries, of all tensors together or of each part by itself."""
        compared = context.score.compared(context.members[0].shape)
        if compared is None:
            return EntryRanking(self, context)

        def to_prune(unpruned: int, total: int) -> int:
            return self.count_to_prune(context, unpruned, total, part=context.score.compares_within)

        return GroupRanking(context, groups_of_channels(compared), to_prune)


class EntryRanking:
    """Prunes the least important entries, of one tensor or of several that compete."""

    reports: Sequence[GroupReport] = ()

    def __init__(self, granularity: Entries, context: RankingContext) -> None:
        self._granularity = granularity
        self._context = context
        self._scoring = context.scoring()
        self._stride = selection.sample_stride(sum(member.entries for member in context.members))
        self._observed: dict[str, _Observed] = {}

    def observe(self, parameter: ArrivedParameter) -> None:
        """Draw the sample of a parameter, while later ones still arrive."""
        candidates = self._context.score.candidates(parameter, self._scoring)
        self._observed[parameter.planned.name] = candidates, selection.draw_sample(candidates, self._stride)

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important entries; among equals, those of the first parameters."""
        observed = [self._observed.pop(parameter.planned.name) for parameter in parameters]
        tensors, samples = [candidates for candidates, _ in observed], [sample for _, sample in observed]
        count = self._granularity.count_to_prune(
            self._context,
            sum(candidates.unpruned for candidates in tensors),
            sum(candidates.entries for candidates in tensors),
        )
        try:
            selected = selection.select(tensors, count, samples=samples)
        except selection.NanKeyError as error:
            self._context.score.refuse_nan(parameters[error.index].planned, self._context.position)
        is_ranked, key = not self._context.score.is_random, selected.largest_pruned
        threshold = magnitude_of(key, self._scoring.domain) if is_ranked and key is not None else None
        outcomes = [Outcome(mask, is_ranked=is_ranked, threshold=threshold) for mask in selected.kept]
        clear_in_steps(observed, tensors, samples, selected.kept)
        return outcomes
