"""What a plan refuses of weight-normed layers: zeros of all that one length belongs to.

torch's weight_norm stores a weight as directions `v` and lengths `g`, and computes g * v / |v|. Zeros of `v` are zeros
of the weight, but a whole channel of zeros is 0 / 0: the weight, and all that the model computes, would be NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.channels import Channels
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.recipe import Recipe

_LENGTHS: Final = (("_v", "_g"), (".original1", ".original0"))
"""How the names of directions end, and those of their lengths: of weight_norm, and of parametrizations.weight_norm."""

_REMEDY: Final = (
    "exclude it, prune single weights, or save the model without the norm (torch.nn.utils.remove_weight_norm, or "
    "torch.nn.utils.parametrize.remove_parametrizations)"
)


def check_weight_normed_channels(recipe: Recipe, parameters: Parameters, selected: Sequence[tuple[int, ...]]) -> None:
    """Refuse rules that prune whole channels of a weight-normed weight, each of which has one length.

    Raises: MismatchError naming the weight.
    """
    dims = {at: rule.granularity.dim for at, rule in enumerate(recipe.rules) if isinstance(rule.granularity, Channels)}
    if not dims:
        return
    for (name, weight), rules in zip(parameters.weights.items(), selected, strict=True):
        normed = length_dim(name, parameters) if rules else None
        for position in rules if normed is not None else ():
            if position in dims and dims[position] % len(weight.shape) == normed:
                raise MismatchError(
                    Reason.DIM_OUT_OF_RANGE,
                    f"rules[{position}] prunes channels along dim {normed} of {name!r}, {_why(name)}; {_REMEDY}",
                    field=f"rules[{position}].granularity.channels.dim",
                    tensor=name,
                )


def check_weight_normed_units(groups: Mapping[int, Sequence[ResolvedGroup]], parameters: Parameters) -> None:
    """Refuse coupled channels that become zeros of a weight-normed weight. Raises: MismatchError naming the weight."""
    for position, found in groups.items():
        for group in found:
            for tie in group.ties:
                if tie.is_zeroed and length_dim(tie.parameter, parameters) == tie.dim:
                    raise MismatchError(
                        Reason.TIE_MISFIT,
                        f"rules[{position}].granularity.units: group {group.name!r} has channels along dim {tie.dim} "
                        f"of {tie.parameter!r}, {_why(tie.parameter)}; ask for output format REMOVED, or {_REMEDY}",
                        field=f"rules[{position}].granularity.units",
                        tensor=tie.parameter,
                    )


def length_dim(name: str, parameters: Parameters) -> int | None:
    """Return the dim along which each position has a length of its own; None if there is none."""
    lengths = parameters.weights.get(_lengths(name))
    if lengths is None:
        return None
    sizes, own = parameters.weights[name].shape, lengths.shape
    dims = [dim for dim, size in enumerate(own) if size != 1]
    return dims[0] if len(dims) == 1 and len(own) == len(sizes) and own[dims[0]] == sizes[dims[0]] else None


def _why(name: str) -> str:
    return (
        f"which is weight-normed: each of them has a length in {_lengths(name)!r}, and the model divides a channel of "
        "zeros by zero, which gives NaN"
    )


def _lengths(name: str) -> str:
    """Return what the lengths of a weight's channels are called if it is weight-normed; else an empty name."""
    return next((name.removesuffix(end) + lengths for end, lengths in _LENGTHS if name.endswith(end)), "")
