"""From a recipe and the names, dtypes and shapes of a checkpoint to a plan. Everything that can be refused without
data is refused here; `execution` carries the plan out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import Final

from pruning_engine.checkpoints.parameters import (
    NO_AUXILIARY,
    Parameters,
    TensorDescription,
    TensorSpec,
    described_bytes,
    find_parameters,
)
from pruning_engine.dtypes import packed_bytes
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning import checks
from pruning_engine.planning.auxiliary_checks import Users, check_use, used_by
from pruning_engine.planning.bias_updates import find_biases
from pruning_engine.planning.earlier_rounds import pruned_earlier
from pruning_engine.planning.input_channels import input_channel_warnings
from pruning_engine.planning.input_dims import find_input_dims
from pruning_engine.planning.left_dense import left_dense_warnings
from pruning_engine.planning.memory.footprints import Footprints
from pruning_engine.planning.memory.profile import memory_profile
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.readings import searched_stages
from pruning_engine.planning.scale_checks import check_removable_scales, check_scales
from pruning_engine.planning.selectors.rule_selection import Selected, select
from pruning_engine.planning.stages import Groups, Stages
from pruning_engine.planning.surgery.operation import operate, remaining_options
from pruning_engine.planning.surgery.surgery import Surgery
from pruning_engine.planning.tied_heads import tied_head_warnings
from pruning_engine.planning.units.consumers import find_consumers, inputs_of_maps, users_of_units
from pruning_engine.planning.units.kept_counts import kept_anyway_warnings, nothing_removed_warnings
from pruning_engine.planning.units.rule_groups import KnownGroups, find_rule_groups
from pruning_engine.planning.units.same_width import same_width_warnings
from pruning_engine.planning.units.weights_only import weights_only_warnings
from pruning_engine.planning.weight_norms import check_weight_normed_channels, check_weight_normed_units, length_dim
from pruning_engine.recipe import OutputForm, Prior, Recipe, check
from pruning_engine.recipe.scanned import DEFAULT_SPARSITIES, scanned
from pruning_engine.report import GroupReport, ModelTotals
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_proto import formats
from pruning_proto.names import IN_GRAM, INPUTS, MASK, MASK_BITS, ORIG

_NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})
_NO_OPTIONS: Final = PlanOptions()


def make_plan(  # noqa: PLR0913 - `options` has all that few plans need
    recipe: Recipe,
    tensors: Sequence[TensorDescription],
    *,
    output: OutputForm = OutputForm.PRUNED,
    aliases: Mapping[str, str] = _NO_ALIASES,
    history: Sequence[Recipe] = (),
    options: PlanOptions = _NO_OPTIONS,
) -> Plan:
    """Plan a recipe for the tensors of a checkpoint. `aliases`: another name -> the name that is among the tensors.

    `history`: the recipes of earlier rounds, for rules of `Prior.HISTORY`. `options`: what else a request says.
    Raises: RecipeError if the recipe is invalid; MismatchError if it does not fit the tensors.
    """
    check(recipe)
    if output is OutputForm.SCAN:
        recipe = scanned(recipe)
    checks.check_available(recipe)
    checks.check_output(recipe, output)
    surgery = operate(recipe, tensors, aliases, output, options)
    tensors, options = surgery.tensors, remaining_options(options, surgery)
    parameters = find_parameters(tensors, aliases, options.auxiliary_aliases)
    is_ranking = output is OutputForm.REPORT or options.is_planned_only
    checks.check_not_quantized(recipe, parameters, surgery.left, is_ranking=is_ranking)
    known = KnownGroups(left=surgery.left, cut=surgery.removed_rows, is_plan=options.is_planned_only)
    groups = find_rule_groups(recipe, parameters, known, output)
    selected = select(recipe, parameters, groups, output)
    of_maps = inputs_of_maps(groups)
    input_dims = find_input_dims(recipe, parameters, [each.rules for each in selected], options, of_maps)
    groups = find_consumers(recipe, groups, parameters, input_dims)
    users = users_of_units(recipe, groups)
    checks.check_parameters(recipe, parameters, [each.rules for each in selected], input_dims)
    checks.check_groups(recipe, groups, parameters)
    if not options.skips_unused:
        check_use(recipe, parameters, [each.rules for each in selected], users)
    check_scales(recipe, parameters, [each.rules for each in selected])
    check_weight_normed_channels(recipe, parameters, [each.rules for each in selected])
    if output is OutputForm.REMOVED:
        check_removable_scales(groups, parameters)
    else:
        check_weight_normed_units(groups, parameters)
    stages = Stages(recipe, groups, find_biases(recipe, parameters, [each.rules for each in selected]))
    uses_history = any(rule.prior is Prior.HISTORY for rule in recipe.rules)
    earlier = pruned_earlier(history if uses_history else (), parameters)
    planned = tuple(
        _planned(parameters, name, each, stages.of(name, each.rules), output)
        for name, each in zip(parameters.weights, selected, strict=True)
    )
    if surgery.result_names:
        planned = tuple(_renamed(each, surgery.result_names) for each in planned)
    if earlier:
        planned = tuple(replace(each, was_pruned=each.name in earlier) for each in planned)
    if input_dims or parameters.auxiliary:
        planned = tuple(_calibrated(each, recipe, input_dims.get(each.name), users) for each in planned)
    checks.check_grouped_inputs(recipe, planned)
    checks.check_updated_dtypes(recipe, planned)
    checks.check_counts(recipe, planned)
    results = tuple(result for parameter in planned for result in parameter.results)
    _refuse_collisions(results)
    searched = searched_stages(recipe, stages.all, output) if options.can_read_again else ()
    barriers = [] if searched else [number for number, stage in enumerate(stages.all) if stage.is_barrier]
    footprints = Footprints(recipe, groups)
    footprint = [footprints.of(parameter) for parameter in planned]
    known_groups = _known_groups(groups, surgery)
    plan = Plan(
        recipe=recipe,
        output=output,
        parameters=planned,
        stages=tuple(stages.all),
        results=results,
        memory_profile=tuple(memory_profile(footprint, tensors, barriers)),
        reproducible=all(rule.is_reproducible for rule in recipe.rules) and not any(map(_sums_inputs, planned)),
        model=_totals(planned, surgery),
        warnings=(
            *input_channel_warnings(recipe, planned),
            *tied_head_warnings(planned),
            *left_dense_warnings(recipe, planned),
            *weights_only_warnings(recipe),
            *same_width_warnings(recipe, groups),
            *nothing_removed_warnings(known_groups),
            *kept_anyway_warnings(recipe, groups),
        ),
        surgery=surgery,
        groups=known_groups,
        scan_sparsities=tuple(sorted(set(options.scan_sparsities or DEFAULT_SPARSITIES))),
        searched=searched,
    )
    clear_in_steps(selected, footprint)
    return plan


def _sums_inputs(planned: PlannedParameter) -> bool:
    """Whether a Gram matrix is made of inputs: BLAS decides its last bits, by which swaps may differ."""
    return INPUTS in planned.used_auxiliary and IN_GRAM not in planned.used_auxiliary


def _calibrated(planned: PlannedParameter, recipe: Recipe, input_dim: int | None, users: Users) -> PlannedParameter:
    """Return a parameter with what is known of its inputs."""
    used = used_by(recipe, planned.name, planned.rules, planned.auxiliary, users)
    if input_dim is None and not used:
        return planned
    return replace(planned, input_dim=input_dim, used_auxiliary=tuple(sorted(used)))


def _planned(
    parameters: Parameters, name: str, selected: Selected, stages: tuple[int, ...], output: OutputForm
) -> PlannedParameter:
    weight, pair_mask = parameters.weights[name], parameters.pair_masks.get(name)
    folds = pair_mask is not None and formats.BY_NAME[output].folds_pairs
    is_masked = bool(selected.rules) or (bool(stages) and pair_mask is not None)  # or a pair whose bias changes
    scale, *_ = parameters.scales.get(name, (None,))
    return PlannedParameter(
        name=name,
        spec=weight,
        entries=prod(weight.shape),
        pair_mask=pair_mask,
        auxiliary=parameters.auxiliary.get(name, NO_AUXILIARY),
        scale=scale,
        aliases=parameters.aliases.get(name, ()),
        rules=selected.rules,
        stages=stages,
        not_selected=selected.refusal,
        results=(
            *_results(name, weight, pair_mask, output, is_selected=is_masked),
            *_results_of_scale(scale, output),
        ),
        passes_through=not stages and not folds,
        length_dim=length_dim(name, parameters) if selected.rules else None,
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


def _renamed(planned: PlannedParameter, names: Mapping[str, str]) -> PlannedParameter:
    """Return a parameter whose results have other names."""
    if not any(spec.name in names for spec in planned.results):
        return planned
    return replace(
        planned, results=tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in planned.results)
    )


def _known_groups(groups: Groups, surgery: Surgery) -> tuple[GroupReport, ...]:
    """Return the groups of all rules, with the units that are kept where they are known."""
    done = {(report.rule, report.name) for report in surgery.groups}
    others = [
        group.report(position, None if group.kept is None else group.kept_flags)
        for position, each in groups.items()
        for group in each
        if (position, group.name) not in done
    ]
    return tuple(sorted([*surgery.groups, *others], key=lambda report: (report.rule, report.name.encode())))


def _totals(parameters: Sequence[PlannedParameter], surgery: Surgery) -> ModelTotals:
    selected = [parameter.entries for parameter in parameters if parameter.rules]
    came = [each.spec for each in surgery.parameters] or [parameter.spec for parameter in parameters]
    return ModelTotals(
        tensors=len(came),
        entries=sum(prod(spec.shape) for spec in came),
        weight_bytes=sum(map(described_bytes, came)),
        selected_tensors=len(selected),
        selected_entries=sum(selected),
    )


def _results_of_scale(scale: TensorDescription | None, output: OutputForm) -> tuple[TensorSpec, ...]:
    """Return a scale, last, in the output formats that have weights."""
    if scale is None or not formats.BY_NAME[output].carries_weights:
        return ()
    return (TensorSpec(scale.name, scale.dtype, scale.shape),)


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
