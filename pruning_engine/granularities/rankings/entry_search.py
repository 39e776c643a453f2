"""Entries of several tensors that compete and cannot be held together: they come again until their cut is known."""

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.cut_search import Cut, CutSearch
from pruning_engine.selection.entries import NanKeyError, Tuning
from pruning_engine.selection.outcome import Outcome


class EntrySearch:
    """What `EntryRanking` decides, found one tensor at a time.

    First `sample` every parameter, then `aim`; until the cut `is_known`, `look` into every parameter, then `settle`.
    Afterwards `outcome` prunes each. `cut`: the search is over, here or elsewhere. `progress` can be shared with
    searches that sample, and look into, other parameters of the same rule. `is_repeatable`: samples are
    the same every time.
    """

    def __init__(
        self,
        granularity: Granularity,
        context: RankingContext,
        *,
        cut: Cut | None = None,
        tuning: Tuning | None = None,
        is_repeatable: bool = False,
    ) -> None:
        self._granularity = granularity
        self._context = context
        self._scoring = context.scoring()
        self._entries = sum(member.entries for member in context.members)
        self.progress = CutSearch(self._entries, tuning)
        self.cut = cut
        self._is_repeatable = is_repeatable

    @property
    def is_known(self) -> bool:
        """Whether the cut is known."""
        return self.cut is not None

    def sample(self, parameter: ArrivedParameter) -> None:
        """Draw the sample of a parameter."""
        context = self._context
        name = parameter.planned.name
        seed = key_of(context.seed, context.position, name) if self._is_repeatable else None
        self.progress.sample(self._candidates(parameter), seed)

    def aim(self) -> None:
        """Begin the search. Raises: MismatchError for a count above what is unpruned."""
        count = self._granularity.count_to_prune(self._context, self.progress.unpruned, self._entries)
        self.cut = self.progress.aim(count)

    def look(self, parameter: ArrivedParameter) -> None:
        """Count and collect what is near the cut. Raises: CheckpointError for NaN."""
        try:
            self.progress.look(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            self._context.score.refuse_nan(parameter.planned, self._context.position)

    def settle(self) -> None:
        """Learn from what was seen of all parameters."""
        self.cut = self.progress.settle()

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        """Prune a parameter. Raises: CheckpointError for NaN."""
        if self.cut is None:
            raise RuntimeError("the cut is not known yet")
        score, key = self._context.score, self.cut.key
        try:
            kept = self.cut.kept(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        threshold = None if score.is_random or key is None else magnitude_of(key, self._scoring.domain)
        return Outcome(kept, is_ranked=not score.is_random, threshold=threshold)

    def _candidates(self, parameter: ArrivedParameter) -> Candidates:
        return self._context.score.candidates(parameter, self._scoring)
