"""What a plan refuses: rules that do not fit the parameters that they select. Knows specs and rules, never data."""

from collections.abc import Collection, Mapping, Sequence

from pruning_engine.checkpoints.parameters import NO_AUXILIARY, Parameters, TensorDescription
from pruning_engine.checkpoints.quantized import find_quantized
from pruning_engine.dtypes import FLOATING
from pruning_engine.errors import MismatchError, Reason, RecipeError, RequestPart
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.granularities.ranking import OUTPUT_CHANNEL
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.units import Units
from pruning_engine.kernels.input_matrix import UnfitInputDimError, input_layout
from pruning_engine.planning.auxiliary_checks import check_statistics
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.planning.selectors.name_patterns import names_in_full
from pruning_engine.recipe import Count, OutputForm, Recipe, Rule, Scope
from pruning_engine.scores.score import Score
from pruning_proto import formats
from pruning_proto.names import UNIT_SCORES


def check_available(recipe: Recipe) -> None:
    """Refuse scores whose code is not installed. Raises: RecipeError."""
    for position, rule in enumerate(recipe.rules):
        rule.score.check_available(f"rules[{position}].score.{rule.score.field}")


def check_output(recipe: Recipe, output: OutputForm) -> None:
    """Refuse an output format that does not go with the rules. Raises: RecipeError.

    Channels can be removed only where a rule names some, and new weights need a format that carries weights.
    """
    row = formats.BY_NAME[output]
    changing = [position for position, rule in enumerate(recipe.rules) if rule.changes_weights]
    if changing and row.has_file and not row.carries_weights:
        carrying = ", ".join(each.name for each in formats.FORMATS if each.carries_weights)
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"output: rules[{changing[0]}] changes weights, and format {row.name} does not carry them; ask for one of "
            f"{carrying}",
            field="output",
            part=RequestPart.OPTIONS,
        )
    if row.needs_units and not any(rule.granularity.is_removable for rule in recipe.rules):
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"output: format {output.name} takes out what a rule of granularity `units` prunes, and the recipe has no "
            f"such rule; add one, or ask for format PRUNED",
            field="output",
            part=RequestPart.OPTIONS,
        )


def check_not_quantized(
    recipe: Recipe, parameters: Parameters, carried_out: Collection[int], *, is_ranking: bool
) -> None:
    """Refuse rules by patterns or default targets where weights are quantized: they would select the few others.

    `carried_out`: rules that leave out whole tensors or positions, whatever is in them. `is_ranking`:
    nothing is pruned, so that experts may be ranked by their router, which is not quantized. Raises: MismatchError.
    """
    rules = [(at, rule) for at, rule in enumerate(recipe.rules) if at not in carried_out]
    needed = ((at, rule) for at, rule in rules if not (is_ranking and rule.score.scores_routers))
    position = next((at for at, rule in needed if not _names_tensors(rule)), None)
    found = None if position is None else find_quantized(parameters.weights)
    if found is not None:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE,
            f"the checkpoint is quantized ({found.format}): tensor {found.tensor!r} holds codes, not weights, and "
            f"rules[{position}] could only prune what was left in high precision; prune the model before it is "
            "quantized, and quantize the result. To prune tensors of high precision alone, include them by their "
            "full names",
            field=f"rules[{position}].select",
            tensor=found.tensor,
        )


def _names_tensors(rule: Rule) -> bool:
    """Whether a rule names all its tensors in full."""
    return names_in_full(rule.select) and not isinstance(rule.granularity, Units)


def check_groups(recipe: Recipe, groups: Mapping[int, Sequence[ResolvedGroup]], parameters: Parameters) -> None:
    """Refuse groups that a rule cannot rank, or that have fewer units than it counts.

    Raises: MismatchError naming the group, or the parameter that lacks its scores.
    """
    for position, found in groups.items():
        rule, path = recipe.rules[position], f"rules[{position}]"
        _check_count(rule, position, [(group.name, group.units) for group in found])
        if not rule.score.ranks or rule.score.is_random:
            continue
        if rule.score.ranks_units:
            _check_unit_scores(rule.score, found, parameters, path)
            continue
        for group in found:
            _check_scored(group, rule.score, path)
            numbered = (name for tie in group.numbered for name in tie.scored)
            for name in (*(tie.parameter for tie in group.ties if tie.scored), *numbered):
                _check_score(rule.score, name, parameters, path)


def _check_scored(group: ResolvedGroup, score: Score, path: str) -> None:
    if not group.scored_names:
        field = f"{path}.granularity.units"
        text = "by default those of floating point and 2 dims or more count, others need scored: true"
        if score.scores_routers:
            text = "of map `experts` that is the router, and in groups of your own the tie with scored: true"
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{field}: no tie of group {group.name!r} counts in a unit's importance; {text}",
            field=field,
            tensor=group.first_name,
        )


def _check_unit_scores(score: Score, groups: Sequence[ResolvedGroup], parameters: Parameters, path: str) -> None:
    """Refuse groups without their scores beside the first tensor, if the score uses some."""
    if UNIT_SCORES not in score.used_auxiliary:
        return  # statistics are checked where the tensors that consume the units are found
    owners: dict[str, str] = {}
    for group in groups:
        if not group.ties:
            continue  # refused where groups are found
        name = group.ties[0].parameter
        _check_score(score, name, parameters, path)
        spec = parameters.auxiliary[name][UNIT_SCORES]
        if owners.setdefault(name, group.name) != group.name or spec.shape != (group.units,):
            raise MismatchError(
                Reason.SHAPE_MISMATCH,
                f"{path}.score: {spec.name!r} of shape {list(spec.shape)} are the scores of group "
                f"{owners[name]!r}, of {group.units} units; send one number for each unit, and begin the ties of each "
                f"group with another tensor",
                field=f"{path}.score",
                tensor=spec.name,
            )


def check_parameters(
    recipe: Recipe, parameters: Parameters, selected: Sequence[tuple[int, ...]], input_dims: Mapping[str, int]
) -> None:
    """Refuse rules that do not fit a parameter, and parameters that lack auxiliary tensors.

    Rules that differ in nothing that is checked here are checked once: a recipe may have 100 of them.
    Raises: MismatchError naming the parameter or the auxiliary tensor, and the rule's field.
    """
    distinct: dict[tuple[int, ...], list[tuple[int, Rule]]] = {}
    for name, rules in zip(parameters.weights, selected, strict=True):
        if rules not in distinct:
            distinct[rules] = _distinct(recipe, rules)
        if name in input_dims:
            _check_input_dim(name, parameters.weights[name], input_dims[name], f"rules[{rules[0]}].input_dim")
        for position, rule in distinct[rules]:
            path = f"rules[{position}]"
            rule.granularity.check_parameter(rule.score, name, parameters.weights[name], path, input_dims.get(name))
            if rule.granularity.takes_select:  # else only some of the tensors are ranked: see check_groups
                _check_score(rule.score, name, parameters, path)
                check_statistics(rule, name, parameters.auxiliary.get(name, NO_AUXILIARY), path)


def _check_input_dim(name: str, weight: TensorDescription, dim: int, field: str) -> None:
    """Refuse a dim along which no layer has its input channels. Raises: MismatchError."""
    try:
        input_layout(name, weight.shape, dim)
    except UnfitInputDimError as error:
        raise MismatchError(
            Reason.DIM_OUT_OF_RANGE,
            f"{field}: dim {dim} of tensor {name!r} of shape {list(weight.shape)} cannot be its input: of a "
            "convolution it is dim 1, or 0 if it is transposed",
            field=field,
            tensor=name,
        ) from error


def _distinct(recipe: Recipe, rules: tuple[int, ...]) -> list[tuple[int, Rule]]:
    """Return the first rule of those that differ in what is checked here, and its position."""
    first: dict[object, tuple[int, Rule]] = {}
    for position in rules:
        rule = recipe.rules[position]
        checked = rule.score, rule.granularity, rule.allocation, rule.swaps, rule.update
        first.setdefault(checked, (position, rule))
    return list(first.values())


def _check_score(score: Score, name: str, parameters: Parameters, path: str) -> None:
    score.check_parameter(name, parameters.weights[name], parameters.auxiliary.get(name, NO_AUXILIARY), path)


def check_counts(recipe: Recipe, parameters: Sequence[PlannedParameter]) -> None:
    """Refuse a count above what there is, as far as that is known without data.

    Raises: MismatchError naming the rule's amount, and in local scope the parameter.
    """
    pieces: dict[object, list[tuple[str, int]]] = {}
    for position, rule in enumerate(recipe.rules):
        if not isinstance(rule.amount, Count) or not rule.granularity.takes_select:
            continue
        key = rule.select, rule.granularity, rule.scope
        if key not in pieces:
            pieces[key] = [
                (parameter.name, rule.granularity.pieces(parameter, rule.scope))
                for parameter in parameters
                if position in parameter.rules
            ]
        _check_count(rule, position, pieces[key])


def _check_count(rule: Rule, position: int, pieces: Sequence[tuple[str, int]]) -> None:
    """Refuse a count above the pieces of one tensor or group, or in global scope of all of them."""
    if not isinstance(rule.amount, Count):
        return
    together = [(None, sum(most for _, most in pieces))]
    part = OUTPUT_CHANNEL if rule.scope is Scope.OUTPUT_CHANNEL else ""
    for holder, most in together if rule.scope is Scope.GLOBAL else pieces:
        if rule.amount.value > most:
            rule.granularity.refuse_count(rule.amount.value, most, position, holder, part)


def check_grouped_inputs(recipe: Recipe, parameters: Sequence[PlannedParameter]) -> None:
    """Refuse swaps and eliminations in groups of n_of_m that are not inputs of the layer.

    Raises: MismatchError naming the parameter.
    """
    for position, rule in enumerate(recipe.rules):
        granularity = rule.granularity
        if not isinstance(granularity, NOfM) or (rule.swaps is None and not rule.score.eliminates):
            continue
        for each in parameters:
            is_grouped = position in each.rules and granularity.fits(each.shape, each.input_dim)
            if is_grouped and not granularity.groups_inputs(each.name, each.shape, each.input_dim):
                dim = granularity.dim_of(each.shape, each.input_dim) % len(each.shape)
                field = f"rules[{position}].granularity.n_of_m.dim"
                raise MismatchError(
                    Reason.DIM_OUT_OF_RANGE,
                    f"{field}: the groups of tensor {each.name!r} of shape {list(each.shape)} are along dim {dim}, but "
                    f"its inputs are along dim {each.input_dim}, and swaps and scores obs and alps need groups of "
                    f"inputs; set n_of_m.dim to {each.input_dim}, or prune this tensor by another score without swaps",
                    field=field,
                    tensor=each.name,
                )


def check_updated_dtypes(recipe: Recipe, parameters: Sequence[PlannedParameter]) -> None:
    """Refuse updates of weights that are not floating point. Raises: MismatchError naming the parameter."""
    for position, rule in enumerate(recipe.rules):
        for each in parameters if rule.update is not None else ():
            if position in each.rules and each.dtype not in FLOATING:
                field = f"rules[{position}].update"
                raise MismatchError(
                    Reason.UNPRUNABLE_DTYPE,
                    f"{field}: tensor {each.name!r} has dtype {each.dtype}, and an update needs one of "
                    f"{', '.join(sorted(FLOATING))}; exclude the tensor, or leave the update out",
                    field=field,
                    tensor=each.name,
                )
