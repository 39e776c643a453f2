"""Which units a rule keeps, where that is known before any data."""

from collections.abc import Sequence
from dataclasses import replace

from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.unit_choice import UnitChoice
from pruning_engine.granularities.unit_order import ByChance, ByRanks, Order
from pruning_engine.granularities.units import Units
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.kernels.devices import backend_for
from pruning_engine.recipe import Recipe, Rule, Scope, UnitScores


def may_be_known(rule: Rule, seed: int | None) -> bool:
    """Whether a rule's choice is known before any data: units are listed, ranked in the recipe, or at random."""
    if not isinstance(rule.granularity, Units) or rule.update is not None:
        return False
    is_ranked = isinstance(rule.score, UnitScores) and bool(rule.score.groups)
    return rule.score.lists_units or is_ranked or (rule.score.is_random and seed is not None)


def with_known(
    recipe: Recipe, position: int, groups: Sequence[ResolvedGroup], there: Sequence[BoolArray]
) -> list[ResolvedGroup]:
    """Return the groups of a rule with the units that are kept. `there`: those that no earlier rule has removed.

    Raises: MismatchError for a count above what is there.
    """
    rule = recipe.rules[position]
    if rule.score.lists_units:
        kept = [group.kept_flags & flags for group, flags in zip(groups, there, strict=True)]
    else:
        kept = _chosen(rule, recipe.seed or 0, position, groups, there)
    return [replace(group, kept=flags.tobytes()) for group, flags in zip(groups, kept, strict=True)]


def _chosen(
    rule: Rule, seed: int, position: int, groups: Sequence[ResolvedGroup], there: Sequence[BoolArray]
) -> list[BoolArray]:
    if not isinstance(rule.granularity, Units):
        raise TypeError(f"rules[{position}] has no units")
    context = RankingContext(
        score=rule.score,
        amount=rule.amount,
        is_global=rule.scope is Scope.GLOBAL,
        position=position,
        seed=seed,
        members=(),
        groups=groups,
        backend=backend_for("cpu"),
    )
    choice = UnitChoice(rule.granularity, rule.granularity.widths, context)
    chosen = choice.made(there, _order(rule, context, groups))
    return [each.kept & here for each, here in zip(chosen, there, strict=True)]


def _order(rule: Rule, context: RankingContext, groups: Sequence[ResolvedGroup]) -> Order:
    if isinstance(rule.score, UnitScores):
        score, path = rule.score, f"rules[{context.position}].score.unit_scores"
        return ByRanks([score.ranks_in_recipe(group.name, group.units, path) for group in groups])
    return ByChance(context, groups)
