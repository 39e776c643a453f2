"""Single entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.group_ranking import GroupRanking
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels.backend import Candidates, Integers
from pruning_engine.kernels.group_layout import groups_of_channels
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.methods.choices import Choice, by_matrix, by_rows
from pruning_engine.report import GroupReport
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.runtime.yield_points import with_yields
from pruning_engine.scores.layer import Flags
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection import entries as selection
from pruning_engine.selection.competition import KeyCompetition
from pruning_engine.selection.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Entries(Granularity):
    """Single entries are pruned: torch's "unstructured"."""

    field: ClassVar[str] = "entries"
    prunes_entries: ClassVar[bool] = True
    takes_shares: ClassVar[bool] = True

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

    def choices(self, context: RankingContext, flags: Flags) -> Sequence[Choice]:
        """Return what each matrix of a tensor is pruned by: a count of each row, or its part of the tensor's."""
        if context.is_by_output_channel:
            columns = flags.shape[2]
            part = "an output channel of "
            return [
                by_rows(
                    np.array([self.count_to_prune(context, int(row.sum()), columns, part=part) for row in matrix]),
                    matrix,
                )
                for matrix in flags
            ]
        candidates = [int(matrix.sum()) for matrix in flags]
        count = self.count_to_prune(context, sum(candidates), flags.size)
        return [by_matrix(own, matrix) for own, matrix in zip(_divided(count, candidates), flags, strict=True)]


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
        score = self._context.score
        candidates = score.candidates(parameter, self._scoring)
        try:
            note = score.note(candidates, self._scoring.domain) if self._context.is_global else None
        except selection.NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        sample = selection.draw_sample(candidates, self._stride)
        self._observed[parameter.planned.name] = _Observed(candidates, sample, note)

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important entries; among equals, those of the first parameters."""
        observed = [self._observed.pop(parameter.planned.name) for parameter in parameters]
        tensors = [each.candidates for each in observed]
        count = self._granularity.count_to_prune(
            self._context,
            sum(candidates.unpruned for candidates in tensors),
            sum(candidates.entries for candidates in tensors),
        )
        try:
            selected = self._select(observed, count)
        except selection.NanKeyError as error:
            self._context.score.refuse_nan(parameters[error.index].planned, self._context.position)
        outcomes = [
            Outcome(mask, is_ranked=not self._context.score.is_random, threshold=self._threshold(key))
            for each in selected
            for mask, key in ((mask, each.largest_pruned) for mask in each.kept)
        ]
        for each in selected:
            clear_in_steps(each.kept)
        clear_in_steps(observed, tensors)
        return outcomes

    def _select(self, observed: Sequence["_Observed"], count: int) -> list[selection.Selected]:
        """Return what is pruned: of all tensors at once, or of one after the other if each has a share."""
        context = self._context
        tensors, samples = [each.candidates for each in observed], [each.sample for each in observed]
        competition = None
        if context.is_global:
            competition = context.score.competition(tensors, [each.note for each in observed])
        if competition is None and context.bounds is None:
            return [selection.select(tensors, count, samples=samples)]
        shares = context.shares(
            count,
            competition or KeyCompetition(tensors, samples, context.backend),
            [candidates.unpruned for candidates in tensors],
            [candidates.entries for candidates in tensors],
        )
        each = zip(tensors, samples, shares, strict=True)
        selected = [
            selection.select([candidates], share, samples=[sample]) for candidates, sample, share in with_yields(each)
        ]
        return selected if competition else _of_one_cut(selected)

    def _threshold(self, key: int | None) -> float | None:
        """Return the magnitude of the largest key that was pruned."""
        return None if self._context.score.is_random or key is None else magnitude_of(key, self._scoring.domain)


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """The candidates of a parameter, a sample of their keys, and what the score noted of them."""

    candidates: Candidates
    sample: Integers
    note: object


def _of_one_cut(selected: Sequence[selection.Selected]) -> list[selection.Selected]:
    """Return the same masks with the largest key that was pruned in any tensor, as global scope reports it."""
    largest = max((each.largest_pruned for each in selected if each.largest_pruned is not None), default=None)
    return [selection.Selected(each.kept, largest) for each in selected]


def _divided(count: int, candidates: Sequence[int]) -> list[int]:
    """Return a count divided among matrices in proportion to their candidates, exact in total."""
    total, before, taken, parts = sum(candidates), 0, 0, []
    for each in candidates:
        before += each
        until = (2 * count * before + total) // (2 * total) if total else 0
        parts.append(until - taken)
        taken = until
    return parts
