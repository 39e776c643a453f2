"""A rule as the call that builds it: `l1_unstructured(0.5, scope='global')`."""

from collections.abc import Mapping
from inspect import Parameter, signature
from reprlib import Repr
from typing import Any, Final

from pruning_client.recipes.content import rule_content
from pruning_client.recipes.short_rules import METHOD, Builders, arguments_of, builds_same, short_form_of
from pruning_proto.v1 import pruning_pb2 as pb

_LONGEST_TEXT: Final = 200
_MOST_ITEMS: Final = 8


def call_text(rule: pb.Rule, builders: Builders) -> str:
    """Return the shortest call of a builder that makes this rule; of a rule that none makes, its fields."""
    form = short_form_of(rule, builders)
    if form is None:
        return f"<Rule: {_SHORTENED.repr(rule_content(rule, builders))}>"
    name = form[METHOD]
    arguments = arguments_of(form)
    needed = _without_usual(name, arguments, builders)
    parameters = list(signature(builders[name]).parameters.values())
    texts = [
        _SHORTENED.repr(needed[parameter.name]) if _is_positional(parameter, position) else _keyword(parameter, needed)
        for position, parameter in enumerate(parameters)
        if parameter.name in needed
    ]
    return f"{name}({', '.join(texts)})"


def _without_usual(name: str, arguments: Mapping[str, Any], builders: Builders) -> dict[str, Any]:
    """Return the arguments without those that the same rule is made without."""
    needed = dict(arguments)
    for argument in arguments:
        others = {key: value for key, value in needed.items() if key != argument}
        if builds_same(name, needed, others, builders):
            needed = others
    return needed


def _is_positional(parameter: Parameter, position: int) -> bool:
    if parameter.kind is Parameter.KEYWORD_ONLY:
        return False
    return position == 0 or parameter.default is Parameter.empty


def _keyword(parameter: Parameter, arguments: Mapping[str, Any]) -> str:
    return f"{parameter.name}={_SHORTENED.repr(arguments[parameter.name])}"


_SHORTENED: Final = Repr()
for _kind in ("maxlist", "maxtuple", "maxdict", "maxset"):
    setattr(_SHORTENED, _kind, _MOST_ITEMS)
_SHORTENED.maxstring = _SHORTENED.maxother = _LONGEST_TEXT
