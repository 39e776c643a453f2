"""Entries of one tensor, or of several that compete, by the order of their importance."""

from collections.abc import Sequence
from dataclasses import dataclass

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.kernels.backend import Candidates, Integers
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.report import GroupReport
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.runtime.yield_points import with_yields
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection import entries as selection
from pruning_engine.selection.competition import KeyCompetition
from pruning_engine.selection.outcome import Outcome


class EntryRanking:
    """Prunes the least important entries, of one tensor or of several that compete."""

    reports: Sequence[GroupReport] = ()

    def __init__(self, granularity: Granularity, context: RankingContext) -> None:
        self._granularity = granularity
        self._context = context
        self._scoring = context.scoring()
        self._domain = self._scoring.domain
        self._stride = selection.sample_stride(sum(member.entries for member in context.members))
        self._observed: dict[str, _Observed] = {}

    def observe(self, parameter: ArrivedParameter) -> None:
        """Draw the sample of a parameter, while later ones still arrive."""
        score = self._context.score
        candidates = self._candidates(parameter)
        try:
            note = score.note(candidates, self._domain) if self._context.is_global else None
        except selection.NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        is_alone = len(self._context.members) == 1 and self._context.bounds is None
        sample = None if is_alone else selection.draw_sample(candidates, self._stride)
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
            Outcome(
                self._entries(mask, parameter),
                is_ranked=not self._context.score.is_random,
                threshold=self._threshold(each.largest_pruned),
            )
            for parameter, (each, mask) in zip(
                parameters, ((each, mask) for each in selected for mask in each.kept), strict=True
            )
        ]
        for each in selected:
            clear_in_steps(each.kept)
        clear_in_steps(observed, tensors)
        return outcomes

    def _candidates(self, parameter: ArrivedParameter) -> Candidates:
        """Return what is ranked of a parameter: its unpruned entries."""
        return self._context.score.candidates(parameter, self._scoring)

    def _entries(self, kept: PackedMask, parameter: ArrivedParameter) -> PackedMask:  # noqa: ARG002 - of blocks
        """Return the mask of a parameter's entries, from that of its candidates."""
        return kept

    def _select(self, observed: Sequence["_Observed"], count: int) -> list[selection.Selected]:
        """Return what is pruned: of all tensors at once, or of one after the other if each has a share."""
        context = self._context
        tensors = [each.candidates for each in observed]
        samples = [each.sample for each in observed if each.sample is not None]
        competition = None
        if context.is_global:
            competition = context.score.competition(tensors, [each.note for each in observed])
        if competition is None and context.bounds is None:
            return [selection.select(tensors, count, samples=samples or None)]
        samples = samples or [selection.draw_sample(candidates, self._stride) for candidates in tensors]
        shares = context.shares(
            count,
            competition or KeyCompetition(tensors, samples, context.backend),
            [candidates.unpruned for candidates in tensors],
            [candidates.entries for candidates in tensors],
            self._granularity.field,
        )
        each = zip(tensors, samples, shares, strict=True)
        selected = [
            selection.select([candidates], share, samples=[sample]) for candidates, sample, share in with_yields(each)
        ]
        return selected if competition else _of_one_cut(selected)

    def _threshold(self, key: int | None) -> float | None:
        """Return the magnitude of the largest key that was pruned."""
        return None if self._context.score.is_random or key is None else magnitude_of(key, self._domain)


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """The candidates of a parameter, a sample of their keys if it competes with others, and what the score noted."""

    candidates: Candidates
    sample: Integers | None
    note: object


def _of_one_cut(selected: Sequence[selection.Selected]) -> list[selection.Selected]:
    """Return the same masks with the largest key that was pruned in any tensor, as global scope reports it."""
    largest = max((each.largest_pruned for each in selected if each.largest_pruned is not None), default=None)
    return [selection.Selected(each.kept, largest) for each in selected]
