"""A rule as the method that builds it, with its arguments: the short form of recipe files, reports and `prune inspect`.

    {"method": "l1_unstructured", "amount": {"fraction": 0.5}, "scope": "global"}

It is made from a rule's JSON mapping, which is also what a pruned file's history contains. The other direction is
`rules.load_recipe`. Imports no protobuf: `prune inspect` reads histories without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

_STRUCTURED: Final = {"random": "random_structured"}
_UNSTRUCTURED: Final = {"random": "random_unstructured", "weighted_magnitude": "weighted_magnitude"}
_UNITS: Final = {"random": "remove_random", "dead": "remove_dead"}
_WITHOUT_RANKING: Final = {
    "identity": "identity",
    "custom_mask": "custom_from_mask",
    "method": "installed_method",
}
_SCORES: Final = ("magnitude", "random", "importance_scores", "weighted_magnitude", "dead", *_WITHOUT_RANKING)
_WITHOUT_SCOPE: Final = ("weighted_magnitude", "n_of_m", "remove_dead", *_WITHOUT_RANKING.values())
_INFINITIES: Final = {"Infinity": "inf", "-Infinity": "-inf"}


def method_forms(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, given as protobuf's JSON mapping, whose rules are in their short form. The seed is text."""
    seed = {} if recipe.get("seed") is None else {"seed": str(recipe["seed"])}
    return {"rules": [method_form(rule) for rule in recipe.get("rules", [])], **seed}


def method_form(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule, given as protobuf's JSON mapping, as the method that builds it and its arguments."""
    kind, score = _score(rule)
    granularity = rule.get("granularity", {})
    method = _method(kind, granularity)
    fields = {"method": method, **_amount(rule)}
    if method not in _WITHOUT_SCOPE:
        fields["scope"] = _word(rule.get("scope", "local"))
    fields |= _arguments(method, kind, score)
    fields |= _of_granularity(granularity)
    if _word(rule.get("prior", "history")) != "history":
        fields["prior"] = _word(rule["prior"])
    return fields | {key: list(patterns) for key, patterns in rule.get("select", {}).items() if patterns}


def _method(kind: str, granularity: Mapping[str, Any]) -> str:
    if _get(granularity, "units") is not None:
        return _UNITS.get(kind, "remove_units")
    if _get(granularity, "n_of_m") is not None:
        return "n_of_m"
    if kind in _WITHOUT_RANKING:
        return _WITHOUT_RANKING[kind]
    if _get(granularity, "channels") is not None:
        return _STRUCTURED.get(kind, "ln_structured")
    return _UNSTRUCTURED.get(kind, "l1_unstructured")


def _score(rule: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    score = rule.get("score", {})
    return next(((kind, _get(score, kind)) for kind in _SCORES if _get(score, kind) is not None), ("magnitude", {}))


def _amount(rule: Mapping[str, Any]) -> dict[str, Any]:
    amount = rule.get("amount", {})
    numbers = {key: int(value) if key == "count" else value for key, value in amount.items()}
    return {"amount": numbers} if numbers else {}


def _arguments(method: str, kind: str, score: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are fields of the score."""
    if kind == "method":
        arguments = {name: _value(argument) for name, argument in score.get("arguments", {}).items()}
        return {"name": score.get("name", "")} | ({"arguments": arguments} if arguments else {})
    fields: dict[str, Any] = {}
    if method == "n_of_m":
        fields["score"] = kind
    elif kind == "importance_scores":
        fields["importance_scores"] = True
    if "norm" in score:
        p = score["norm"].get("p", 2)
        fields["n"] = _word(score["norm"]["named"]) if "named" in score["norm"] else _INFINITIES.get(p, p)
    if "dim" in score:
        fields["dim"] = score["dim"]
    return fields


def _of_granularity(granularity: Mapping[str, Any]) -> dict[str, Any]:
    channels, n_of_m, units = (_get(granularity, kind) for kind in ("channels", "n_of_m", "units"))
    if channels is not None:
        return {"dim": channels.get("dim", 0)}
    if n_of_m is not None:
        return {"n": n_of_m["n"], "m": n_of_m["m"]}
    return {} if units is None else _of_units(units)


def _of_units(units: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: _get(units, name) for name in ("map", "head_dim", "round_to", "same_width", "groups")}
    if fields["head_dim"] is not None:
        fields["head_dim"] = int(fields["head_dim"])
    if fields["groups"] is not None:
        fields["groups"] = [_with_numbers(group) for group in fields["groups"]]
    return {name: value for name, value in fields.items() if value}


def _with_numbers(value: Any) -> Any:
    """Return groups with integers of 64 bits as such, which JSON has as text."""
    if isinstance(value, Mapping):
        numbers = ("units", "offset", "outer", "inner", "indices", "config")
        return {key: _integers(part) if key in numbers else _with_numbers(part) for key, part in value.items()}
    return [_with_numbers(part) for part in value] if isinstance(value, list) else value


def _integers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: int(part) for key, part in value.items()}
    return [int(part) for part in value] if isinstance(value, Sequence) and not isinstance(value, str) else int(value)


def _value(argument: Mapping[str, Any]) -> Any:
    return int(argument["integer"]) if "integer" in argument else next(iter(argument.values()), None)


def _get(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in the contract, or the one that JSON has for it."""
    first, *others = name.split("_")
    return fields.get(name, fields.get(first + "".join(map(str.capitalize, others))))


def _word(name: str) -> str:
    """Return the plain word of an enum's value: `global` of `SCOPE_GLOBAL`."""
    return name.rpartition("_")[2].lower()
