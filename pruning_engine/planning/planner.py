"""From a recipe and the names, dtypes and shapes of a checkpoint to a plan. Everything that can be refused without
data is refused here; `execution` carries the plan out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final

from pruning_engine.checkpoints.parameters import (
    NO_AUXILIARY,
    Parameters,
    TensorDescription,
    TensorSpec,
    find_parameters,
)
from pruning_engine.dtypes import packed_bytes
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.units import Units
from pruning_engine.planning import checks
from pruning_engine.planning.footprints import Footprints
from pruning_engine.planning.group_resolution import find_groups, refuse_shared
from pruning_engine.planning.memory import memory_profile
from pruning_engine.planning.name_patterns import NotSelected, compile_selector
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.stages import Groups, Stages
from pruning_engine.recipe import OutputForm, Recipe, Selector, check
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_proto import formats
from pruning_proto.names import MASK, MASK_BITS, ORIG

_NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Selected:
    """The rules that select one parameter; if none does, why."""

    rules: tuple[int, ...]
    refusal: NotSelected | None


def make_plan(
    recipe: Recipe,
    tensors: Sequence[TensorDescription],
    *,
    output: OutputForm = OutputForm.PRUNED,
    aliases: Mapping[str, str] = _NO_ALIASES,
) -> Plan:
    """Plan a recipe for the tensors of a checkpoint. `aliases`: another name -> the name that is among the tensors.

    Raises: RecipeError if the recipe is invalid; MismatchError if it does not fit the tensors.
    """
    check(recipe)
    checks.check_available(recipe)
    checks.check_output(recipe, output)
    parameters = find_parameters(tensors, aliases)
    groups = _groups(recipe, parameters)
    selected = _select(recipe, parameters, groups, output)
    checks.check_parameters(recipe, parameters, [each.rules for each in selected])
    checks.check_groups(recipe, groups, parameters)
    checks.check_counts(recipe, parameters, [each.rules for each in selected])
    stages = Stages(recipe, groups)
    planned = tuple(
        _planned(parameters, name, each, stages.of(name, each.rules), output)
        for name, each in zip(parameters.weights, selected, strict=True)
    )
    results = tuple(result for parameter in planned for result in parameter.results)
    _refuse_collisions(results)
    barriers = [number for number, stage in enumerate(stages.all) if stage.is_barrier]
    footprints = Footprints(recipe, groups)
    footprint = [footprints.of(parameter) for parameter in planned]
    plan = Plan(
        recipe=recipe,
        output=output,
        parameters=planned,
        stages=tuple(stages.all),
        results=results,
        memory_profile=tuple(memory_profile(footprint, tensors, barriers)),
        reproducible=all(rule.score.is_reproducible for rule in recipe.rules),
    )
    clear_in_steps(selected, footprint)
    return plan


def _groups(recipe: Recipe, parameters: Parameters) -> Groups:
    """Find the groups of each rule of coupled channels. Raises: MismatchError."""
    found = {
        position: find_groups(rule.granularity, parameters, f"rules[{position}].granularity.units")
        for position, rule in enumerate(recipe.rules)
        if isinstance(rule.granularity, Units)
    }
    if len(found) > 1:  # several rules may have the same group, but not different groups of the same units
        different = {group.place: group for groups in found.values() for group in groups}
        refuse_shared(different.values(), f"rules[{max(found)}].granularity.units")
    return found


def _select(recipe: Recipe, parameters: Parameters, groups: Groups, output: OutputForm) -> list[Selected]:
    """Return the rules of each parameter. Raises: MismatchError for a rule that selects none."""
    selection = _Selection(recipe, _coupled(groups, output))
    found = [selection.of(name, parameters.names(name), weight) for name, weight in parameters.weights.items()]
    _refuse_idle_rules(recipe, [each.rules for each in found])
    return found


def _coupled(groups: Groups, output: OutputForm) -> Mapping[str, tuple[int, ...]]:
    """Return the rules of coupled channels that act on each parameter; on running statistics only for REMOVED."""
    found: dict[str, set[int]] = {}
    for position, each in groups.items():
        for tie in (tie for group in each for tie in group.ties):
            if tie.is_zeroed or output is OutputForm.REMOVED:
                found.setdefault(tie.parameter, set()).add(position)
    return {name: tuple(sorted(positions)) for name, positions in found.items()}


class _Selection:
    """Which rules select a parameter.

    Planning 100 rules for 100,000 tensors depends on two caches: rules of equal selectors are matched once, and
    parameters of the same rules share one tuple (and one `Selected`).
    """

    def __init__(self, recipe: Recipe, coupled: Mapping[str, tuple[int, ...]]) -> None:
        self._coupled = coupled
        positions: dict[Selector, list[int]] = {}
        for position, rule in enumerate(recipe.rules):
            if rule.granularity.takes_select:
                positions.setdefault(rule.select, []).append(position)
        self._positions = list(positions.values())
        self._choices = [compile_selector(select, f"rules[{at[0]}].select") for select, at in positions.items()]
        self._selected: dict[tuple[NotSelected | None, ...], Selected] = {}
        self._rules: dict[tuple[int, ...], tuple[int, ...]] = {}

    def of(self, name: str, names: tuple[str, ...], weight: TensorDescription) -> Selected:
        """Return the rules that select a parameter; if none does, the first reason that says more than its name."""
        refusals = tuple(choice.refuses(names, weight.dtype, len(weight.shape)) for choice in self._choices)
        if refusals not in self._selected:
            self._selected[refusals] = self._select(refusals)
        selected = self._selected[refusals]
        if name not in self._coupled:
            return selected
        return Selected(tuple(sorted({*selected.rules, *self._coupled[name]})), None)

    def _select(self, refusals: tuple[NotSelected | None, ...]) -> Selected:
        groups = zip(self._positions, refusals, strict=True)
        rules = tuple(sorted(at for group, refusal in groups if refusal is None for at in group))
        if rules:
            return Selected(self._rules.setdefault(rules, rules), None)
        reasons = (refusal for refusal in refusals if refusal is not NotSelected.NAME)
        return Selected((), next(reasons, NotSelected.NAME))


def _refuse_idle_rules(recipe: Recipe, selected: Sequence[tuple[int, ...]]) -> None:
    acting = {position for rules in set(selected) for position in rules}
    for position, rule in enumerate(recipe.rules):
        if position not in acting and rule.granularity.takes_select:
            patterns = f"include {list(rule.select.include)}" if rule.select.include else "the default targets"
            raise MismatchError(
                Reason.SELECTS_NOTHING,
                f"rules[{position}].select selects none of the {len(selected)} parameters ({patterns}, "
                f"exclude {list(rule.select.exclude)}); name tensors of the checkpoint",
                field=f"rules[{position}].select",
            )


def _planned(
    parameters: Parameters, name: str, selected: Selected, stages: tuple[int, ...], output: OutputForm
) -> PlannedParameter:
    weight, pair_mask = parameters.weights[name], parameters.pair_masks.get(name)
    folds = pair_mask is not None and formats.BY_NAME[output].folds_pairs
    return PlannedParameter(
        name=name,
        spec=weight,
        entries=prod(weight.shape),
        pair_mask=pair_mask,
        auxiliary=parameters.auxiliary.get(name, NO_AUXILIARY),
        aliases=parameters.aliases.get(name, ()),
        rules=selected.rules,
        stages=stages,
        not_selected=selected.refusal,
        results=_results(name, weight, pair_mask, output, is_selected=bool(selected.rules)),
        passes_through=not selected.rules and not folds,
    )


def _results(
    name: str,
    weight: TensorDescription,
    pair_mask: TensorDescription | None,
    output: OutputForm,
    *,
    is_selected: bool,
) -> tuple[TensorSpec, ...]:
    match output:
        case OutputForm.PRUNED | OutputForm.REMOVED:
            return (TensorSpec(name, weight.dtype, weight.shape),)
        case OutputForm.MASKED if is_selected:
            return (
                TensorSpec(name + ORIG, weight.dtype, weight.shape),
                TensorSpec(name + MASK, "BOOL", weight.shape),
            )
        case OutputForm.MASKED:
            sources = (weight,) if pair_mask is None else (weight, pair_mask)
            return tuple(TensorSpec(source.name, source.dtype, source.shape) for source in sources)
        case OutputForm.MASK if is_selected:
            return (TensorSpec(name + MASK_BITS, "U8", (packed_bytes(prod(weight.shape)),)),)
        case _:
            return ()


def _refuse_collisions(results: Sequence[TensorSpec]) -> None:
    seen: set[str] = set()
    for result in results:
        if result.name in seen:
            raise MismatchError(
                Reason.NAME_COLLISION,
                f"the result would have two tensors named {result.name!r}; rename the one in the checkpoint",
                tensor=result.name,
            )
        seen.add(result.name)
