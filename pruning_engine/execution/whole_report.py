"""The report of a plan, from what was done to its parameters: all at once, or some here and some elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pruning_engine.execution.report_warnings import warnings_about
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.units.kept_counts import nothing_removed_warnings
from pruning_engine.recipe import Kept
from pruning_engine.report import GroupReport, ModelTotals, Report, TensorReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done to some parameters of a plan.

    `tensors`: of the selected ones, by name. `groups`: those that were decided, in any order. `zeros_before` and
    `zeros`: of all that came, None where some could not be counted, or were not to be. `seconds`: the engine's.
    """

    tensors: Mapping[str, TensorReport]
    groups: Sequence[GroupReport]
    zeros_before: int | None
    zeros: int | None
    seconds: float


def whole_report(plan: Plan, done: Done, device: str) -> Report:
    """Return the report of a plan from what was done to all its parameters."""
    selected = [parameter for parameter in plan.parameters if parameter.name in done.tensors]
    tensors = tuple(done.tensors[parameter.name] for parameter in selected)
    groups, known = _all_groups(plan, done.groups), {group.rule for group in plan.groups if group.kept}
    ranked = [group for group in groups if group.rule not in known and _counts_kept(plan, group)]
    warnings = (*warnings_about(plan.recipe.rules, selected, tensors), *nothing_removed_warnings(ranked))
    return Report(
        tensors=tensors,
        seconds={"prune": done.seconds},
        device=device,
        seed=plan.recipe.seed or 0,
        reproducible=plan.reproducible,
        groups=groups,
        model=_totals(plan, done),
        warnings=(*plan.warnings, *warnings),
    )


def _counts_kept(plan: Plan, group: GroupReport) -> bool:
    """Whether the rule of a group says how many of its units are kept."""
    return isinstance(plan.recipe.rules[group.rule].amount, Kept)


def _totals(plan: Plan, done: Done) -> ModelTotals:
    """Return the totals of the model; what is left out before any data is not looked at, and counts as zero."""
    left_out = plan.model.entries - sum(planned.entries for planned in plan.parameters)
    before = None if left_out else done.zeros_before
    zeros = None if done.zeros is None else done.zeros + left_out
    return replace(plan.model, zeros_before=before, zeros=zeros)


def _all_groups(plan: Plan, decided: Sequence[GroupReport]) -> tuple[GroupReport, ...]:
    """Return the groups in the order of rules and names; those that were known before all else as they were."""
    known = plan.surgery.groups
    names = {(group.rule, group.name) for group in known}
    others = [group for group in decided if (group.rule, group.name) not in names]
    return tuple(sorted([*known, *others], key=lambda group: (group.rule, group.name.encode())))
