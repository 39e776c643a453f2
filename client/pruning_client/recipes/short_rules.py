"""Rules of a recipe file in their short form: a method and its arguments, as builders take them.

    - method: l1_unstructured
      amount: 0.5
      scope: global

The builders are `rules`' own, which are passed in: that module is above this one.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, Final, Protocol, TypeAlias

from google.protobuf.json_format import MessageToDict

from pruning_client.errors import RecipeError, in_rule, recipe_error
from pruning_client.recipes.amounts import Amount, sparsity
from pruning_client.recipes.channel_groups import Group
from pruning_client.recipes.message_fields import fill
from pruning_client.recipes.method_form import method_form
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb


class Built(Protocol):
    """What a builder returns: a rule as a caller has it."""

    def to_message(self) -> pb.Rule:
        """Return the rule's message."""


Builders: TypeAlias = Mapping[str, Callable[..., Built]]
"""The functions that build a rule, by their names."""

METHOD: Final = "method"
"""The key that makes a rule a short one."""

_FLAGS: Final = ("importance_scores", "same_width", "own_widths", "allow_dense")
_NUMBERS_OR_FLAGS: Final = ("swaps",)
_DEFAULT_SCOPES: Final = {
    "weighted_magnitude": pb.SCOPE_OUTPUT_CHANNEL,
    "ria": pb.SCOPE_OUTPUT_CHANNEL,
    "lamp": pb.SCOPE_GLOBAL,
}
_INFINITIES: Final = {"inf": float("inf"), "-inf": float("-inf")}


def rule_of(content: Mapping[object, object], position: int, builders: Builders) -> pb.Rule:
    """Return the rule that a method and its arguments describe.

    Raises: RecipeError with the path of the argument that is wrong, such as `recipe.rules[0].amount.fraction`.
    """
    try:
        return _built(content, builders)
    except RecipeError as error:
        raise in_rule(error, position) from error


def short_form_of(rule: pb.Rule, builders: Builders) -> dict[str, Any] | None:
    """Return a rule as its method and arguments; None if no builder makes exactly this rule."""
    form = method_form(MessageToDict(rule, preserving_proto_field_name=True))
    try:
        is_exact = _without_defaults(_built(form, builders)) == _without_defaults(rule)
    except RecipeError:  # it is invalid in itself, which the server reports
        return None
    return form if is_exact else None


def arguments_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a short form, as a caller of its builder gives them."""
    arguments = _values({key: value for key, value in form.items() if key != METHOD}, takes_amount=False)
    return {key: _as_typed(key, value) for key, value in arguments.items()}


def _as_typed(key: str, value: Any) -> Any:
    if key == "n" and isinstance(value, float) and value.is_integer():
        return int(value)
    return tuple(value) if key == "block" else value


def builds_same(name: str, arguments: Mapping[str, Any], others: Mapping[str, Any], builders: Builders) -> bool:
    """Whether a builder makes the same rule of other arguments, which may be too few for it."""
    build = builders[name]
    try:
        messages = [build(**each).to_message() for each in (arguments, others)]
    except (RecipeError, TypeError):
        return False
    return _without_defaults(messages[0]) == _without_defaults(messages[1])


def _built(content: Mapping[Any, Any], builders: Builders) -> pb.Rule:
    name = content[METHOD]
    if not isinstance(name, str) or name not in builders:
        description = f"there is no such method: {name!r}; methods: {', '.join(builders)}"
        raise recipe_error(Reason.UNSUPPORTED_FIELD, METHOD, description)
    parameters = signature(builders[name]).parameters
    arguments = {str(key): value for key, value in content.items() if key != METHOD}
    values = _values(arguments, takes_amount="amount" in parameters)
    _check_parameters(name, parameters, values)
    try:
        return builders[name](**values).to_message()
    except (TypeError, ValueError, OverflowError) as error:  # a value of a type that only YAML can bring here
        raise recipe_error(Reason.INVALID_RECIPE, METHOD, f"{name}: {' '.join(str(error).split())}") from error


def _values(arguments: Mapping[str, Any], *, takes_amount: bool) -> dict[str, Any]:
    values = {key: _argument(key, value) for key, value in arguments.items() if value is not None}
    if takes_amount and "sparsity" in values:
        if "amount" in values:
            raise recipe_error(Reason.INVALID_RECIPE, "sparsity", "only one of amount, sparsity may be given")
        values["amount"] = sparsity(values.pop("sparsity"))
    return values


def _check_parameters(name: str, parameters: Mapping[str, Parameter], values: Mapping[str, object]) -> None:
    """Refuse arguments that a builder does not take, and missing ones. Raises: RecipeError."""
    takes = [*parameters, *["sparsity"] * ("amount" in parameters)]
    for key in values:
        if key not in takes:
            description = f"{name} has no such argument; it takes {', '.join(takes)}"
            raise recipe_error(Reason.UNSUPPORTED_FIELD, key, description)
    for key, parameter in parameters.items():
        if parameter.default is Parameter.empty and key not in values:
            raise recipe_error(Reason.INVALID_RECIPE, key, f"{name} needs it")


def _argument(key: str, value: Any) -> Any:
    """Return an argument as builders take it. Raises: RecipeError for `yes` in place of a number, and the like."""
    if key not in _NUMBERS_OR_FLAGS and isinstance(value, bool) is not (key in _FLAGS):
        expected = "true or false" if key in _FLAGS else "not true or false"
        raise recipe_error(Reason.INVALID_RECIPE, key, f"this is {expected}; got {value!r}")
    if key == "amount" and isinstance(value, dict):
        amount = pb.Amount()
        fill(amount, value, "amount")
        return Amount.from_message(amount)
    if key == "groups" and isinstance(value, list):
        return [_group(group, f"groups[{index}]") for index, group in enumerate(value)]
    if key == "n" and isinstance(value, str):
        return _INFINITIES.get(value, value)
    return value


def _group(content: object, path: str) -> Group:
    group = pb.Group()
    fill(group, content, path)
    return Group.from_message(group)


def _without_defaults(rule: pb.Rule) -> pb.Rule:
    """Return a rule without what means the same as its absence."""
    plain = pb.Rule()
    plain.CopyFrom(rule)
    if plain.prior == pb.PRIOR_HISTORY:
        plain.ClearField("prior")
    if plain.scope == _DEFAULT_SCOPES.get(plain.score.WhichOneof("kind") or "", pb.SCOPE_LOCAL):
        plain.ClearField("scope")
    if plain.HasField("granularity") and plain.granularity.HasField("entries"):
        plain.ClearField("granularity")
    kind = plain.score.WhichOneof("kind")
    if kind in ("magnitude", "importance_scores"):
        score = getattr(plain.score, kind)
        if score.norm == pb.Norm(p=2):
            score.ClearField("norm")
    return plain
