"""Numbers of units to keep: no more than there are, and no fewer than those that are always kept."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.units import Units
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import Kept, Recipe, Rule, Scope
from pruning_engine.report import GroupReport, ModelWarning, WarningKind
from pruning_proto.counted import counted, counted_that

_SHOWN: Final = 10
"""Of the units that are always kept."""


def check_kept_count(rule: Rule, units: Units, groups: Sequence[ResolvedGroup], path: str) -> None:
    """Refuse a number of units to keep that no group has, or not all together; and one that is too small for those that
    are always kept.

    Where groups have different numbers of units, those with fewer keep all. `path`: of the rule. Raises: MismatchError.
    """
    _check_always_kept(units, groups, f"{path}.granularity.units.always_kept")
    if not isinstance(rule.amount, Kept) or not groups:
        return
    _check_large_enough(rule.amount, units.always_kept, f"{path}.amount.kept")
    is_global = rule.scope is Scope.GLOBAL
    most = sum(group.units for group in groups) if is_global else max(group.units for group in groups)
    if rule.amount.value > most:
        which = f"the {len(groups):,} groups together" if is_global and len(groups) > 1 else f"group {groups[0].name!r}"
        field = f"{path}.amount.kept"
        raise MismatchError(
            Reason.COUNT_TOO_LARGE,
            f"{field}: {rule.amount.value:,} units are to be kept, but {which} {'have' if is_global else 'has'} only "
            f"{most:,}; keep fewer than that",
            field=field,
        )


def _check_always_kept(units: Units, groups: Sequence[ResolvedGroup], field: str) -> None:
    for group in groups:
        outside = next((unit for unit in units.always_kept if unit >= group.units), None)
        if outside is not None:
            raise MismatchError(
                Reason.UNIT_MISFIT,
                f"{field}: group {group.name!r} has no unit {outside:,}, only {group.units:,}, counted from 0",
                field=field,
                tensor=group.first_name,
            )


def _check_large_enough(kept: Kept, always_kept: Sequence[int], field: str) -> None:
    if kept.value < len(always_kept):
        some = ", ".join(map(str, always_kept[:_SHOWN])) + (" ..." if len(always_kept) > _SHOWN else "")
        raise MismatchError(
            Reason.UNIT_MISFIT,
            f"{field}: {counted_that(kept.value, 'unit')} to be kept, and "
            f"{len(always_kept):,} always are ({some}); keep as many "
            "at least",
            field=field,
        )


def nothing_removed_warnings(groups: Sequence[GroupReport]) -> Iterator[ModelWarning]:
    """Yield a warning for each rule of which it is known before any data that its groups keep all of their units."""
    for rule, found in groupby(groups, key=lambda group: group.rule):
        reports = list(found)
        if all(len(report.kept) == report.units for report in reports):
            units = f"{counted(reports[0].units, 'unit')} of group {reports[0].name!r}"
            others = f" and those of {len(reports) - 1:,} more" if len(reports) > 1 else ""
            yield ModelWarning(
                kind=WarningKind.NOTHING_PRUNED,
                tensor=None,
                message=f"rules[{rule}] removes nothing: it keeps all {units}{others}; keep fewer, or leave it out",
            )


def kept_anyway_warnings(recipe: Recipe, groups: Groups) -> Iterator[ModelWarning]:
    """Yield a warning for each rule whose amount leaves fewer units than its groups keep in any case."""
    for position, found in groups.items():
        rule = recipe.rules[position]
        amount, units = rule.amount, rule.granularity
        if amount is None or not isinstance(units, Units):
            continue
        held = [(group.units, _least_kept(units, group)) for group in found]
        is_global = rule.scope is Scope.GLOBAL
        sums = [(sum(each[0] for each in held), sum(each[1] for each in held))] if is_global and held else held
        short = [index for index, (all_, least) in enumerate(sums) if all_ - least < amount.of(all_, all_) <= all_]
        if short:
            all_, least = sums[short[0]]
            names = "all groups together" if is_global else f"group {found[short[0]].name!r}"
            others = f" (and of {counted(len(short) - 1, 'more group')})" if len(short) > 1 else ""
            yield ModelWarning(
                kind=WarningKind.LEAST_KEPT,
                tensor=None,
                message=f"rules[{position}].amount asks for {amount.of(all_, all_):,} of the {counted(all_, 'unit')} "
                f"of {names}{others}, of which {least:,} {'is' if least == 1 else 'are'} always kept; ask for fewer",
            )


def _least_kept(units: Units, group: ResolvedGroup) -> int:
    return min(group.units, max(group.least_kept, len(units.always_kept)))
