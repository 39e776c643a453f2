"""What calibrated rules have beyond others: swaps, updates, allocations, bounds, the dim of the inputs."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, TypeAlias

from pruning_client.errors import recipe_error
from pruning_client.rules.parts import at_least_one, choice, dim_of
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

UpdateLike: TypeAlias = Literal["none", "bias_compensation", "refit", "sparsegpt"] | Mapping[str, Any]
"""The name of an update, "none", or an update with its fields: {"refit": {"steps": 40}}."""

AllocationLike: TypeAlias = Literal["erk", "owl", "least_predicted_error"] | Mapping[str, Any]
"""The name of an allocation, or one with its fields: {"owl": {"outlier_factor": 7}}."""

SwapsLike: TypeAlias = bool | int
"""Whether the mask is improved by swaps; a number is the most swaps of one output channel."""


def calibrated(  # noqa: PLR0913 - the parts of a Rule
    rule: pb.Rule,
    *,
    swaps: SwapsLike = False,
    update: UpdateLike | None = None,
    allocation: AllocationLike | None = None,
    min_sparsity: float | None = None,
    max_sparsity: float | None = None,
    input_dim: int | None = None,
) -> pb.Rule:
    """Set the parts that are given. Raises: RecipeError."""
    if swaps is True:
        rule.swaps.SetInParent()
    elif swaps is not False:
        rule.swaps.steps = at_least_one(swaps, "swaps.steps")
    if update is not None and update != "none":
        _fill(rule.update, update, "update")
    if allocation is not None:
        _fill(rule.allocation, allocation, "allocation")
    for name, value in (("min_sparsity", min_sparsity), ("max_sparsity", max_sparsity)):
        if value is not None:
            setattr(rule.bounds, name, _sparsity(value, f"bounds.{name}"))
    if input_dim is not None:
        rule.input_dim = dim_of(input_dim, "input_dim")
    return rule


def _fill(message: pb.Update | pb.Allocation, content: object, field: str) -> None:
    """Set one of several kinds, by its name or as a mapping. Raises: RecipeError."""
    if isinstance(content, str):
        kinds = {kind.name: kind for kind in message.DESCRIPTOR.oneofs_by_name["kind"].fields}
        choice(kinds, content, field)
    from pruning_client.recipes.message_fields import fill  # noqa: PLC0415 - imports protobuf's JSON

    fill(message, dict(content) if isinstance(content, Mapping) else content, field)


def _sparsity(value: float, field: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0.0 <= value <= 1.0:
        raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, field, f"a sparsity is 0.0 to 1.0, got {value!r}")
    return float(value)
