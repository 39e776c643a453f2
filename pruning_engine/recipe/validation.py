"""What is refused about a recipe whatever the checkpoint: values out of range, and parts that do not go together."""

from collections.abc import Mapping
from typing import Final, NoReturn

from pruning_engine.allocations.allocation import Allocation, Bounds
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.granularities.entries import Entries
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.granularities.units import Units
from pruning_engine.norm import NamedNorm
from pruning_engine.recipe.amounts import Count, Fraction, Kept, Sparsity
from pruning_engine.recipe.recipe import Recipe, Rule, Selector, default_scope
from pruning_engine.scope import Scope
from pruning_engine.updates.table import UPDATES

_SWAPPED: Final = (Entries.field, NOfM.field)
"""The granularities whose masks swaps can improve."""

_OF_ENTRIES: Final = tuple(field for field, granularity in GRANULARITIES.items() if granularity.prunes_entries)


def check(recipe: Recipe) -> None:
    """Refuse a recipe that is invalid for any checkpoint.

    Raises: RecipeError with the path of the field at fault.
    """
    if not recipe.rules:
        raise RecipeError(Reason.INVALID_RECIPE, "a recipe needs at least one rule", field="rules")
    if recipe.seed is not None and not 0 <= recipe.seed < 2**64:
        raise RecipeError(Reason.INVALID_RECIPE, f"a seed is 0 to 2^64 - 1, got {recipe.seed}", field="seed")
    for position, rule in enumerate(recipe.rules):
        _check_rule(rule, f"rules[{position}]")


def _check_rule(rule: Rule, path: str) -> None:
    rule.granularity.check(f"{path}.granularity.{rule.granularity.field}")
    _check_select(rule, path)
    _check_granularity(rule, path)
    _check_parts(rule, path)
    _check_amount(rule, path)
    _check_norm(rule, f"{path}.score.{rule.score.field}.norm")
    rule.score.check(f"{path}.score.{rule.score.field}")
    rule.score.check_granularity(rule.granularity.field, f"{path}.score.{rule.score.field}")
    _check_calibrated(rule, path)


def _check_calibrated(rule: Rule, path: str) -> None:
    """Refuse allocations, bounds, swaps and updates that are invalid for any checkpoint."""
    if rule.allocation is not None:
        rule.allocation.check(f"{path}.allocation.{rule.allocation.field}")
        _check_allocation(rule, rule.allocation, path)
    if rule.bounds is not None:
        rule.bounds.check(f"{path}.bounds")
        _check_bounds(rule, rule.bounds, path)
    if rule.swaps is not None:
        rule.swaps.check(f"{path}.swaps")
        if rule.granularity.field not in _SWAPPED:
            _refuse(f"{path}.swaps", f"swaps are for granularities {' and '.join(_SWAPPED)}; leave them out")
    if rule.update is not None:
        rule.update.check(f"{path}.update.{rule.update.field}")
        if rule.granularity.field == Units.field and not rule.update.for_units:
            allowed = " or ".join(field for field, update in UPDATES.items() if update.for_units)
            _refuse(f"{path}.update", f"{rule.update.field} updates entries, and units are not; use {allowed}")


def _check_allocation(rule: Rule, allocation: Allocation, path: str) -> None:
    """Refuse an allocation where there is no amount to divide, or tensors compete for it."""
    field = f"{path}.allocation"
    if not (rule.score.ranks and rule.granularity.takes_shares):
        name = rule.granularity.field if rule.score.ranks else rule.score.field
        _refuse(field, f"{name} takes no allocation; leave it out")
    if rule.scope is Scope.GLOBAL:
        _refuse(field, "in global scope tensors compete for the amount; leave it out, or use local scope")
    if isinstance(rule.amount, Count):
        _refuse(field, "a fraction or a sparsity can be divided, a count cannot; give one of these")
    if allocation.needs_values and (rule.score.is_random or not rule.score.ranks_values):
        _refuse(field, f"{allocation.field} needs scores that are numbers, which {rule.score.field} has not")


def _check_bounds(rule: Rule, bounds: Bounds, path: str) -> None:
    """Refuse bounds where tensors have no shares of their own, and bounds that no share can keep."""
    if not (rule.score.ranks and rule.granularity.takes_shares):
        name = rule.granularity.field if rule.score.ranks else rule.score.field
        _refuse(f"{path}.bounds", f"{name} takes no bounds (min_sparsity and max_sparsity); leave them out")
    if rule.scope is not Scope.GLOBAL and rule.allocation is None:
        _refuse(f"{path}.bounds", "bounds are for global scope or with an allocation; leave them out")
    if isinstance(rule.amount, Fraction | Sparsity) and rule.amount.value > bounds.most:
        _refuse(
            f"{path}.bounds.max_sparsity",
            f"the amount {rule.amount.value} is above max_sparsity {bounds.most}, so that not all tensors can be "
            f"within it; ask for less, or raise it",
        )
    if isinstance(rule.amount, Sparsity) and rule.amount.value < bounds.least:
        _refuse(
            f"{path}.bounds.min_sparsity",
            f"the amount {rule.amount.value} is below min_sparsity {bounds.least}, so that not all tensors can be "
            f"within it; ask for more, or lower it",
        )


def _check_select(rule: Rule, path: str) -> None:
    if not rule.granularity.takes_select and rule.select != Selector():
        _refuse(
            f"{path}.select",
            f"a rule of granularity {rule.granularity.field} acts on the tensors of its groups and takes no select; "
            f"leave it out",
        )


def _check_granularity(rule: Rule, path: str) -> None:
    """Refuse a granularity that the score does not go with."""
    name, only, field = rule.score.field, rule.score.only_granularity, rule.granularity.field
    if only == Entries.field and field != only:
        _refuse_part(name, "granularity", path)
    if only not in (None, field):
        _refuse(f"{path}.granularity", f"{name} needs granularity {only}; add it")
    ranks_pieces = rule.score.ranks_channels or (rule.score.ranks_units and field == Units.field)
    if not ranks_pieces and not rule.granularity.prunes_entries:
        _refuse(f"{path}.granularity", f"{name} ranks entries, and {field} are not; use {' or '.join(_OF_ENTRIES)}")


def _check_parts(rule: Rule, path: str) -> None:
    """Refuse an amount or a scope that the score or the granularity does not take."""
    score, granularity = rule.score, rule.granularity
    if rule.amount is not None:
        _refuse_untaken("amount", path, {score.field: score.ranks, granularity.field: granularity.takes_amount})
    if rule.scope is not default_scope(score, granularity):
        _refuse_untaken("scope", path, {score.field: score.ranks, granularity.field: granularity.takes_scope})
    if rule.scope is Scope.OUTPUT_CHANNEL and not granularity.takes_output_channels:
        _refuse(f"{path}.scope", f"{granularity.field} do not compete within output channels; use another scope")
    if rule.scope is Scope.GLOBAL and score.eliminates and granularity.prunes_entries:
        _refuse(f"{path}.scope", f"{score.field} prunes each tensor by itself; use local or output_channel")
    if granularity.takes_values and not score.ranks_values:
        _refuse(f"{path}.score", f"{granularity.field} need scores that are numbers, which {score.field} has not")


def _check_amount(rule: Rule, path: str) -> None:
    if not rule.score.ranks or not rule.granularity.takes_amount:
        return
    if rule.amount is None:
        also = ", or the number of units kept," if rule.granularity.field == Units.field else ""
        _refuse(f"{path}.amount", f"a fraction, a count or a sparsity{also} is required")
    if isinstance(rule.amount, Kept) and rule.granularity.field != Units.field:
        name = rule.granularity.field
        _refuse(f"{path}.amount.kept", f"it is for granularity units, and this is {name}; give a fraction or a count")
    rule.amount.check(f"{path}.amount")


def _check_norm(rule: Rule, path: str) -> None:
    if rule.score.norm is None:
        return
    if not rule.granularity.takes_norm:
        raise RecipeError(
            Reason.INVALID_NORM,
            f"{path}: a norm is for channels; the magnitude of an entry needs none; leave it out",
            field=path,
        )
    if rule.score.norm is NamedNorm.NUC and not rule.granularity.takes_nuclear_norm:
        raise RecipeError(
            Reason.INVALID_NORM,
            f"{path}: the nuclear norm is for granularity channels; {rule.granularity.field} take p",
            field=f"{path}.named",
        )


def _refuse_untaken(part: str, path: str, takers: Mapping[str, bool]) -> None:
    for name, takes_it in takers.items():
        if not takes_it:
            _refuse_part(name, part, path)


def _refuse_part(name: str, part: str, path: str) -> None:
    raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {name} takes no {part}; leave it out", field=f"{path}.{part}")


def _refuse(path: str, text: str) -> NoReturn:
    raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)
