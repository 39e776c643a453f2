"""What rankings of entries, channels and coupled channels share: the rule at work, its amount, what it refuses."""

from dataclasses import dataclass

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import (
    DEFAULT_NORM,
    Amount,
    Count,
    Norm,
    Rule,
    Scope,
)
from pruning_proto.names import SCORES


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingContext:
    """A rule that ranks, its place in the recipe, the recipe's seed, and the parameters that it ranks."""

    rule: Rule
    position: int
    seed: int
    members: tuple[PlannedParameter, ...]

    def count_to_prune(self, unpruned: int, total: int, group: str | None = None) -> int:
        """Return how many of `unpruned` to prune; `group`: whose. Raises: MismatchError if it counts more."""
        amount: Amount | None = self.rule.amount
        assert amount is not None  # noqa: S101 - recipe.check refused rules that rank without one
        if isinstance(amount, Count) and amount.value > unpruned:
            tensor = group or (self.members[0].name if self.rule.scope is Scope.LOCAL else None)
            self.rule.granularity.refuse_count(amount.value, unpruned, self.position, tensor)
        return amount.of(unpruned, total)

    def by_scores(self, planned: PlannedParameter) -> bool:
        """Whether this parameter is ranked by given scores, not by its weights."""
        return SCORES in self.rule.score.auxiliary and planned.scores is not None

    def refuse_nan(self, planned: PlannedParameter) -> None:
        """Refuse NaN among what is ranked."""
        given = self.by_scores(planned)
        name = planned.scores if given and planned.scores is not None else planned.weight
        raise CheckpointError(
            Reason.NAN_SCORES if given else Reason.NAN_WEIGHTS,
            f"tensor {name!r} holds NaN among the entries that rules[{self.position}] ranks; NaN has no rank",
            tensor=name,
        )


def norm_of(rule: Rule) -> Norm:
    """Return the norm that a rule ranks by."""
    return DEFAULT_NORM if rule.score.norm is None else rule.score.norm
