"""What a plan refuses of FP8 weights with scales: those that cannot be ranked, or whose scales cannot be cut."""

from collections.abc import Mapping, Sequence

from pruning_engine.checkpoints.parameters import NO_AUXILIARY, Parameters, TensorDescription
from pruning_engine.checkpoints.scales import SCALE_DTYPES
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.planning.selectors.name_patterns import names_in_full
from pruning_engine.recipe import Recipe, Rule
from pruning_engine.scale_layout import ScaleLayout, UnfitScaleError, scale_layout
from pruning_proto.names import SCALED


def check_scales(recipe: Recipe, parameters: Parameters, selected: Sequence[tuple[int, ...]]) -> None:
    """Refuse FP8 weights that rules rank, or show to an installed method, if their scales cannot be used.

    Raises: MismatchError naming the scale, or the weight that lacks one.
    """
    if not parameters.scales:
        return
    for (name, weight), rules in zip(parameters.weights.items(), selected, strict=True):
        if weight.dtype in SCALED:
            for position in rules:
                _check_rule(recipe.rules[position], position, name, parameters)


def check_removable_scales(groups: Mapping[int, Sequence[ResolvedGroup]], parameters: Parameters) -> None:
    """Refuse coupled channels that cannot be removed from a weight, because they are parts of blocks with one scale.

    Raises: MismatchError naming the weight.
    """
    for position, found in groups.items():
        for group in found:
            for tie in group.ties:
                if tie.parameter in parameters.scales:
                    layout = _layout(tie.parameter, parameters)
                    _check_whole_blocks(layout, tie, group, f"rules[{position}].granularity.units")


def _check_rule(rule: Rule, position: int, name: str, parameters: Parameters) -> None:
    ranks = rule.score.ranks and not rule.score.is_random
    if ranks and rule.score.ranked(parameters.auxiliary.get(name, NO_AUXILIARY)) is not None:
        return  # scores of the caller's, not weights
    if name not in parameters.scales:
        if ranks and not names_in_full(rule.select):
            _refuse_without(name, position, parameters)
    elif not rule.score.takes_scales:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE,
            f"rules[{position}] selects {name!r}, whose codes are multiplied by {parameters.scales[name][0].name!r}; "
            f"score {rule.score.field} would be shown the codes alone. Use a score that ranks weights, send the mask, "
            "or prune the model before it is quantized",
            field=f"rules[{position}].score",
            tensor=name,
        )
    elif ranks:
        _layout(name, parameters)


def _refuse_without(name: str, position: int, parameters: Parameters) -> None:
    other, (scale, *_) = next(iter(parameters.scales.items()))
    raise MismatchError(
        Reason.MISSING_COMPANION,
        f"rules[{position}] ranks {name!r}, an FP8 weight without a scale, while {other!r} has {scale.name!r}; if its "
        "scale is in another shard, prune all shards together, by their index or folder; else exclude it, or include "
        "it by its full name, to rank its codes as they are",
        field=f"rules[{position}].select",
        tensor=name,
    )


def _layout(name: str, parameters: Parameters) -> ScaleLayout:
    """Return the blocks of a weight. Raises: MismatchError if its scale cannot be used, naming that."""
    weight, (scale, *others) = parameters.weights[name], parameters.scales[name]
    if others:
        names = " and ".join(repr(each.name) for each in (scale, *others))
        raise MismatchError(
            Reason.NAME_COLLISION, f"{name!r} has two scales, {names}; leave one out", tensor=others[0].name
        )
    if scale.dtype not in SCALE_DTYPES:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE,
            f"scale {scale.name!r} has dtype {scale.dtype}; allowed, because products with FP8 weights are exact: "
            f"{', '.join(sorted(SCALE_DTYPES))}",
            tensor=scale.name,
        )
    try:
        return scale_layout(weight.shape, scale.shape)
    except UnfitScaleError as error:
        raise _unfit(scale, weight) from error


def _unfit(scale: TensorDescription, weight: TensorDescription) -> MismatchError:
    return MismatchError(
        Reason.SHAPE_MISMATCH,
        f"scale {scale.name!r} has shape {list(scale.shape)}, which fits no blocks of {weight.name!r} of shape "
        f"{list(weight.shape)}; allowed: one number, one for each position of the first dims, or one for each block, "
        "whose size along each dim is 1, a power of two, or the whole dim",
        tensor=scale.name,
    )


def _check_whole_blocks(layout: ScaleLayout, tie: ResolvedSlice, group: ResolvedGroup, path: str) -> None:
    block = layout.blocks[tie.dim]
    if layout.counts[tie.dim] == 1 or tie.has_whole_blocks(block):
        return
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}: group {group.name!r}: tensor {tie.parameter!r} has one scale for every {block} positions of dim "
        f"{tie.dim}, and the group's units are not whole blocks of {block} there, so its scales cannot follow; use "
        f"units of whole blocks (inner: {block}), ask for output format PRUNED, or remove channels before the model is "
        "quantized",
        field=path,
        tensor=tie.parameter,
    )
