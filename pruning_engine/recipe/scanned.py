"""Output format SCAN: what a recipe is when each tensor is looked at by itself."""

from dataclasses import replace
from typing import Final

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.recipe.recipe import Recipe, Rule
from pruning_engine.scope import Scope

DEFAULT_SPARSITIES: Final = tuple(tenth / 10 for tenth in range(1, 10))
"""Of a scan that names none."""


def scanned(recipe: Recipe) -> Recipe:
    """Return a recipe whose rules decide each tensor by itself.

    Raises: RecipeError for a rule that prunes whole channels or units: a curve is of the entries of one tensor.
    """
    for position, rule in enumerate(recipe.rules):
        if not _is_scanned(rule.granularity):
            path = f"rules[{position}].granularity"
            allowed = ", ".join(field for field, each in GRANULARITIES.items() if _is_scanned(each))
            raise RecipeError(
                Reason.INVALID_RECIPE,
                f"{path}: a scan is for granularities {allowed}, got {rule.granularity.field}",
                field=path,
            )
    return replace(recipe, rules=tuple(map(_alone, recipe.rules)))


def _is_scanned(granularity: Granularity | type[Granularity]) -> bool:
    return granularity.is_scanned or granularity.prunes_entries


def _alone(rule: Rule) -> Rule:
    scope = Scope.LOCAL if rule.scope is Scope.GLOBAL else rule.scope
    return replace(rule, scope=scope, allocation=None, bounds=None, is_scanned=True)
