"""The groups of each rule of units in a checkpoint, with what is known of their units before any data."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn, TypeAlias

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.errors import MismatchError, Reason, RecipeError, RequestPart
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.units import Units
from pruning_engine.planning.stages import Groups
from pruning_engine.planning.units.group_resolution import Finding, find_groups, refuse_shared
from pruning_engine.planning.units.kept_counts import check_kept_count
from pruning_engine.planning.units.listed_units import check_blocks, refuse_unknown_groups, with_listed
from pruning_engine.recipe import (
    ImportanceScores,
    ListedUnits,
    Magnitude,
    OutputForm,
    Recipe,
    RouterMagnitude,
    Rule,
    Score,
    UnitScores,
)

_RANKS_TENSORS: Final = (Magnitude, ImportanceScores, RouterMagnitude)
"""Scores that rank numbered tensors by their entries."""

FoundGroups: TypeAlias = tuple[ResolvedGroup, ...]
"""The groups of one rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGroups:
    """What rules that are carried out before any data leave.

    `left`: for each of these rules, by position, the groups that the others treat as usual. `cut`: tensors of which
    they leave out positions along dim 0. `is_plan`: nothing is carried out.
    """

    left: Groups
    cut: Collection[str]
    is_plan: bool


def groups_of_rule(rule: Rule, units: Units, parameters: Parameters, path: str, finding: Finding) -> FoundGroups:
    """Return the groups of one rule, in the order of their names. `path`: of the rule.

    Raises: MismatchError naming the field and the tensor.
    """
    finding = replace(finding, scores_routers=rule.score.scores_routers)
    groups = find_groups(units, parameters, f"{path}.granularity.units", finding)
    check_blocks(units, groups, path)
    check_kept_count(rule, units, groups, path)
    if not _ranks_tensors(rule.score):
        groups = tuple(replace(group, is_scored=False) for group in groups)
    if isinstance(rule.score, ListedUnits):
        return with_listed(rule.score, units, groups, path)
    if isinstance(rule.score, UnitScores) and rule.score.groups:
        place = f"{path}.score.{rule.score.field}"
        refuse_unknown_groups(rule.score.groups, groups, f"{place}.groups")
        for group in groups:
            rule.score.ranks_in_recipe(group.name, group.units, place)
    return groups


def _ranks_tensors(score: Score) -> bool:
    """Whether tensors decide which units are pruned, and not numbers, a list, or chance."""
    return score.ranks and not score.is_random and not isinstance(score, UnitScores)


def find_rule_groups(recipe: Recipe, parameters: Parameters, known: KnownGroups, output: OutputForm) -> Groups:
    """Return the groups of each rule of units. Raises: RecipeError, MismatchError."""
    found = dict(known.left)
    for position, rule in enumerate(recipe.rules):
        if isinstance(rule.granularity, Units) and position not in known.left:
            path = f"rules[{position}]"
            found[position] = groups_of_rule(rule, rule.granularity, parameters, path, Finding())
            _check_numbered(rule, found[position], path, output, is_plan=known.is_plan)
            _check_uncut(found[position], parameters, known.cut, path)
    if len(found) > 1:  # several rules may have the same group, but not different groups of the same units
        different = {group.place: group for groups in found.values() for group in groups}
        refuse_shared(different.values(), f"rules[{max(found)}].granularity.units")
    return dict(sorted(found.items()))


def _check_uncut(groups: Sequence[ResolvedGroup], parameters: Parameters, cut: Collection[str], path: str) -> None:
    """Refuse units along dim 0 of tensors that have lost positions there: their numbers would be others."""
    for tie in (tie for group in groups if cut for tie in group.ties):
        if tie.dim == 0 and parameters.weights[tie.parameter].name in cut:
            field = f"{path}.granularity.units"
            raise MismatchError(
                Reason.TIE_MISFIT,
                f"{field}: another rule leaves out positions along dim 0 of tensor {tie.parameter!r} before this one, "
                "so that its units would have other numbers; prune in two calls",
                field=field,
                tensor=tie.parameter,
            )


def _check_numbered(
    rule: Rule, groups: Sequence[ResolvedGroup], path: str, output: OutputForm, *, is_plan: bool
) -> None:
    """Refuse numbered tensors where they can be neither ranked nor left out. Raises: RecipeError, MismatchError."""
    group = next((group for group in groups if group.numbered), None)
    if group is None:
        return
    tie = group.numbered[0].tie
    if rule.update is not None:
        _refuse(f"{path}.update", f"units of {tie!r} are whole tensors, which no update makes up for; leave it out")
    if not isinstance(rule.score, _RANKS_TENSORS):
        ranking = ", ".join(score.field for score in _RANKS_TENSORS)
        _refuse(
            f"{path}.score",
            f"units of {tie!r} are whole tensors, which {rule.score.field} cannot rank; list the units (listed), send "
            f"scores in the recipe (unit_scores.groups), or use random, {ranking}",
        )
    if output is OutputForm.REMOVED:
        _refuse(
            f"{path}.score",
            f"which of the tensors {tie!r} are left out must be known before any of them comes, and score "
            f"{rule.score.field} depends on them; rank them with output format REPORT, and list the "
            "units that it keeps (score listed)",
        )
    if output is not OutputForm.REPORT and not is_plan:
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"output: units of {tie!r} ({path}) are whole tensors, which format {output.name} cannot leave out; ask "
            "for REMOVED, or for REPORT to rank them",
            field="output",
            part=RequestPart.OPTIONS,
        )


def _refuse(field: str, text: str) -> NoReturn:
    raise MismatchError(Reason.UNIT_MISFIT, f"{field}: {text}", field=field)
