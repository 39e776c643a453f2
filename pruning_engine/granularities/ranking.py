"""A ranking: one rule at work on the parameters that compete. Each granularity has its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.kernels.backend import Backend
from pruning_engine.norm import DEFAULT_NORM, Norm
from pruning_engine.report import GroupReport
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_engine.selection.competition import Competition
from pruning_engine.selection.limits import ImpossibleTotalError, Limits, share_within_limits
from pruning_engine.selection.outcome import Outcome

OUTPUT_CHANNEL: Final = "an output channel of "
"""In messages: the part of a tensor whose entries compete."""


class AmountToPrune(Protocol):
    """A fraction, a count or a sparsity: see recipe/amounts.py."""

    def of(self, unpruned: int, total: int) -> int:
        """Return how many of `unpruned` out of `total` to prune; it may be more than `unpruned`."""
        ...


class SparsityBounds(Protocol):
    """Limits of each tensor's sparsity: see allocations/allocation.py."""

    def limits(self, unpruned: int, total: int) -> Limits:
        """Return how many of `unpruned` pieces out of `total` can be pruned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingContext:
    """One rule that ranks: its score and amount, its position in the recipe, the seed, and where to compute.

    `is_by_output_channel`: whether entries compete within each output channel of a parameter.
    `members`: the parameters that compete. `groups`: of a rule of coupled channels, those that are decided together.
    `amount` is None for a rule that takes none. `bounds`: of each member's sparsity; None: there are none.
    """

    score: Score
    amount: AmountToPrune | None
    is_global: bool
    is_by_output_channel: bool = False
    position: int
    seed: int
    members: Sequence[DescribedParameter]
    groups: Sequence[ResolvedGroup]
    backend: Backend
    bounds: SparsityBounds | None = None

    @property
    def norm(self) -> Norm:
        """The norm that ranks channels."""
        return DEFAULT_NORM if self.score.norm is None else self.score.norm

    @property
    def ranks_by_norm(self) -> bool:
        """Whether channels rank by their norms, and neither at random nor not at all."""
        return self.score.ranks and not self.score.is_random

    @property
    def only_member(self) -> str | None:
        """The name of the parameter in local scope, where there is one; None: several compete."""
        return None if self.is_global else self.members[0].name

    def amount_of(self, unpruned: int, total: int) -> int:
        """Return how many of `unpruned` out of `total` to prune; it may be more than `unpruned`."""
        return 0 if self.amount is None else self.amount.of(unpruned, total)

    def shares(
        self, total: int, competition: Competition, unpruned: Sequence[int], pieces: Sequence[int], what: str
    ) -> list[int]:
        """Return how many of `total` pieces each member loses, within its bounds.

        `unpruned` and `pieces`: of each member. `what`: what pieces are called.
        Raises: MismatchError if the bounds do not allow the total.
        """
        if self.bounds is None:
            limits = [Limits(0, count) for count in unpruned]
        else:
            limits = [self.bounds.limits(count, all_of_it) for count, all_of_it in zip(unpruned, pieces, strict=True)]
        try:
            return share_within_limits(total, limits, competition.shares)
        except ImpossibleTotalError as error:
            field = f"rules[{self.position}].bounds"
            raise MismatchError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"{field}: the amount prunes {total:,} {what} of the selected tensors, but min_sparsity and "
                f"max_sparsity of each allow {error.least:,} to {error.most:,} {what} of {sum(pieces):,}, beside "
                f"those that were pruned before; change the amount, min_sparsity or max_sparsity",
                field=field,
            ) from error

    def scoring(self) -> ScoringContext:
        """Return what the score needs to make candidates."""
        return ScoringContext(
            position=self.position, seed=self.seed, backend=self.backend, domain=self.score.domain(self.members)
        )


class Ranking(Protocol):
    """A rule at work. It observes each parameter as it arrives, and decides when all have.

    In local scope a rule is at work on one parameter at a time.
    """

    @property
    def reports(self) -> Sequence[GroupReport]:
        """What was done to groups of coupled channels; empty for other granularities."""
        ...

    def observe(self, parameter: ArrivedParameter) -> None:
        """Take note of a parameter that has arrived."""
        ...

    def decide(self, parameters: Sequence[ArrivedParameter]) -> list[Outcome]:
        """Prune the least important pieces; among equals, those of the first parameters.

        Raises: CheckpointError for NaN; MismatchError for a count above what is unpruned.
        """
        ...
