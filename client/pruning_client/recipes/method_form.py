"""A rule as the method that builds it, with its arguments: the short form of recipe files, reports and `prune inspect`.

    {"method": "l1_unstructured", "amount": {"fraction": 0.5}, "scope": "global"}

It is made from a rule's JSON mapping, which is also what a pruned file's history contains. The other direction is
`rules.load_recipe`. Imports no protobuf: `prune inspect` reads histories without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pruning_client.recipes.surgery_form import field as _get
from pruning_client.recipes.surgery_form import surgery_form

_STRUCTURED: Final = {"random": "random_structured"}
_UNSTRUCTURED: Final = {
    "random": "random_unstructured",
    "weighted_magnitude": "wanda",
    "ria": "ria",
    "obs": "sparsegpt",
    "alps": "alps",
    "lamp": "lamp",
}
_DEFAULT_SCOPES: Final = {"wanda": "output_channel", "ria": "output_channel", "alps": "output_channel"}
_DEFAULT_UPDATES: Final = {"sparsegpt": "sparsegpt", "alps": "refit"}
_UNITS: Final = {"random": "remove_random", "dead": "remove_dead"}
_WITHOUT_RANKING: Final = {
    "identity": "identity",
    "custom_mask": "custom_from_mask",
    "method": "installed_method",
}
_UNIT_SCORES: Final = (
    *("obs", "flap", "activation_norm", "weighted_magnitude", "glu_peak_to_peak", "unit_scores"),
    *("router_magnitude", "listed"),
)
_SCORES: Final = (
    *("magnitude", "random", "importance_scores", "weighted_magnitude", "ria", "lamp", "obs", "alps", "flap"),
    *("activation_norm", "glu_peak_to_peak", "unit_scores", "router_magnitude", "listed", "dead"),
    *_WITHOUT_RANKING,
)
_WITHOUT_SCOPE: Final = ("lamp", "n_of_m", "remove_dead", *_WITHOUT_RANKING.values())
_INFINITIES: Final = {"Infinity": "inf", "-Infinity": "-inf"}


def method_forms(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, given as protobuf's JSON mapping, whose rules are in their short form. The seed is text."""
    seed = {} if recipe.get("seed") is None else {"seed": str(recipe["seed"])}
    return {"rules": [method_form(rule) for rule in recipe.get("rules", [])], **seed}


def method_form(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule, given as protobuf's JSON mapping, as the method that builds it and its arguments."""
    form = surgery_form(rule)
    if form is not None:
        return form | _prior(rule)
    kind, score = _score(rule)
    granularity = rule.get("granularity", {})
    method = _method(kind, granularity)
    fields = {"method": method, **_amount(rule)}
    if method not in _WITHOUT_SCOPE:
        fields["scope"] = _scope(rule.get("scope"), _DEFAULT_SCOPES.get(method, "local"))
    fields |= _arguments(method, kind, score)
    fields |= _of_granularity(granularity)
    fields |= _calibration(method, rule)
    if method == "remove_units" and kind == "magnitude" and "update" in fields:
        fields["score"] = kind  # with an update, another score is the default
    fields |= _prior(rule)
    return fields | {key: list(patterns) for key, patterns in rule.get("select", {}).items() if patterns}


def _prior(rule: Mapping[str, Any]) -> dict[str, str]:
    word = _word(rule.get("prior", "history"))
    return {} if word == "history" else {"prior": word}


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
    numbers = {key: int(value) if key in ("count", "kept") else value for key, value in amount.items()}
    return {"amount": numbers} if numbers else {}


def _arguments(method: str, kind: str, score: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are fields of the score."""
    if kind == "method":
        arguments = {name: _value(argument) for name, argument in score.get("arguments", {}).items()}
        return {"name": score.get("name", "")} | ({"arguments": arguments} if arguments else {})
    fields: dict[str, Any] = {}
    if method == "n_of_m" or (method == "remove_units" and kind in _UNIT_SCORES):
        fields["score"] = kind
    elif kind == "importance_scores":
        fields["importance_scores"] = True
    if "norm" in score:
        p = score["norm"].get("p", 2)
        fields["n"] = _word(score["norm"]["named"]) if "named" in score["norm"] else _INFINITIES.get(p, p)
    if "exponent" in score:
        fields["exponent"] = score["exponent"]
    return fields


def _calibration(method: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of calibrated rules: swaps, an update, an allocation, bounds, the dim of the inputs."""
    swaps, bounds = _get(rule, "swaps"), rule.get("bounds", {})
    fields = {
        "input_dim": _get(rule, "input_dim"),
        "swaps": None if swaps is None else swaps.get("steps", True),
        "update": _kind(rule.get("update", {})),
        "allocation": _kind(rule.get("allocation", {})),
        "min_sparsity": _get(bounds, "min_sparsity"),
        "max_sparsity": _get(bounds, "max_sparsity"),
    }
    if method in _DEFAULT_UPDATES:
        fields["update"] = None if fields["update"] == _DEFAULT_UPDATES[method] else fields["update"] or "none"
    return {name: value for name, value in fields.items() if value is not None}


def _kind(kinds: Mapping[str, Any]) -> Any:
    """Return one of several kinds: its name, or a mapping if it has fields; None if there is none."""
    return next(({kind: dict(content)} if content else kind for kind, content in kinds.items()), None)


def _of_granularity(granularity: Mapping[str, Any]) -> dict[str, Any]:
    channels, n_of_m, units, blocks = (_get(granularity, kind) for kind in ("channels", "n_of_m", "units", "blocks"))
    if channels is not None:
        return {"dim": channels.get("dim", 0)}
    if n_of_m is not None:
        fields = {"n": n_of_m["n"], "m": n_of_m["m"], "dim": n_of_m.get("dim")}
        fields["allow_dense"] = _get(n_of_m, "allow_dense") or None
        return {name: value for name, value in fields.items() if value is not None}
    if blocks is not None:
        return {"block": [blocks["rows"], blocks["columns"]]}
    return {} if units is None else _of_units(units)


def _of_units(units: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: _get(units, name) for name in ("map", "head_dim", "round_to", "same_width", "own_widths", "groups")}
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


def _scope(name: str | None, default: str) -> str:
    """Return the plain word of a scope: `output_channel` of `SCOPE_OUTPUT_CHANNEL`."""
    return default if name is None else name.removeprefix("SCOPE_").lower()


def _word(name: str) -> str:
    """Return the plain word of an enum's value: `global` of `SCOPE_GLOBAL`."""
    return name.rpartition("_")[2].lower()
