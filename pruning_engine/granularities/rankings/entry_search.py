"""Entries of several tensors that compete and cannot be held together: they come again until their cut is known."""

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.cut_search import Cut, CutSearch
from pruning_engine.selection.entries import NanKeyError
from pruning_engine.selection.outcome import Outcome


class EntrySearch:
    """What `EntryRanking` decides, found one tensor at a time.

    First `sample` every parameter, then `aim`; until the cut `is_known`, `look` into every parameter, then `settle`.
    Afterwards `outcome` prunes each.
    """

    def __init__(self, granularity: Granularity, context: RankingContext) -> None:
        self._granularity = granularity
        self._context = context
        self._scoring = context.scoring()
        self._entries = sum(member.entries for member in context.members)
        self._search = CutSearch(self._entries)
        self._cut: Cut | None = None

    @property
    def is_known(self) -> bool:
        """Whether the cut is known."""
        return self._cut is not None

    def sample(self, parameter: ArrivedParameter) -> None:
        """Draw the sample of a parameter."""
        self._search.sample(self._candidates(parameter))

    def aim(self) -> None:
        """Begin the search. Raises: MismatchError for a count above what is unpruned."""
        count = self._granularity.count_to_prune(self._context, self._search.unpruned, self._entries)
        self._cut = self._search.aim(count)

    def look(self, parameter: ArrivedParameter) -> None:
        """Count and collect what is near the cut. Raises: CheckpointError for NaN."""
        try:
            self._search.look(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            self._context.score.refuse_nan(parameter.planned, self._context.position)

    def settle(self) -> None:
        """Learn from what was seen of all parameters."""
        self._cut = self._search.settle()

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        """Prune a parameter. Raises: CheckpointError for NaN."""
        if self._cut is None:
            raise RuntimeError("the cut is not known yet")
        score, key = self._context.score, self._cut.key
        try:
            kept = self._cut.kept(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        threshold = None if score.is_random or key is None else magnitude_of(key, self._scoring.domain)
        return Outcome(kept, is_ranked=not score.is_random, threshold=threshold)

    def _candidates(self, parameter: ArrivedParameter) -> Candidates:
        return self._context.score.candidates(parameter, self._scoring)
