"""Rules that remove experts, layers and rows of the vocabulary, as the method that builds them and its arguments.

    {"method": "drop_layers", "layers": "21-28"}

Like `method_form`, of which this is a part, it reads the JSON mapping of a rule, and imports no protobuf.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from pruning_client.recipes.unit_lists import units_text

_PARTS_OF_EXPERTS: Final = {"experts_of_layers": "layers", "experts_of_mtp": "mtp"}
_ARGUMENTS: Final = {
    **dict.fromkeys(("experts", *_PARTS_OF_EXPERTS), "experts"),
    "layers": "layers",
    "vocabulary": "tokens",
}
"""The maps that have methods of their own, each with what these call its units."""

_NAMED: Final = ("router_magnitude", "magnitude", "random")
_OTHERS: Final = ("groups", "head_dim", "round_to", "same_width")
"""Fields of units that these methods do not take."""


def surgery_form(rule: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the method and the arguments of a rule, but for `prior`; None if it has no method of this kind."""
    units = field(rule.get("granularity", {}), "units") or {}
    argument = _ARGUMENTS.get(units.get("map", ""))
    if argument is None or any(field(units, name) for name in _OTHERS) or field(rule, "update"):
        return None
    listed = field(rule.get("score", {}), "listed")
    form = _ranked(rule, units, argument) if listed is None else _listed(listed, argument)
    of = _PARTS_OF_EXPERTS.get(units["map"])
    return form if form is None or of is None else form | {"of": of}


def _ranked(rule: Mapping[str, Any], units: Mapping[str, Any], argument: str) -> dict[str, Any] | None:
    """Return the form of a rule that keeps a number of units."""
    kept, score = field(rule.get("amount", {}), "kept"), _score(rule.get("score", {}))
    if kept is None or score is None:
        return None
    form = {"method": f"keep_{argument}", argument: int(kept), "score": score}
    if rule.get("scope") == "SCOPE_GLOBAL":
        form["scope"] = "global"
    limits = {name: field(units, name) for name in ("least_kept", "balanced_blocks")}
    stay = field(units, "always_kept")
    if stay:
        form["always_kept"] = units_text([int(unit) for unit in stay])
    return form | {name: int(value) for name, value in limits.items() if value}


def _score(score: Mapping[str, Any]) -> Any:
    for name in _NAMED:
        if field(score, name) is not None:
            return name if not field(score, name) else None
    groups = (field(score, "unit_scores") or {}).get("groups", {})
    return {name: list(each["values"]) for name, each in groups.items()} or None


def _listed(listed: Mapping[str, Any], argument: str) -> dict[str, Any] | None:
    """Return the form of a rule that lists units: all that are kept, or all that are pruned."""
    every, groups = field(listed, "every_group"), listed.get("groups", {})
    if bool(every) == bool(groups):
        return None
    lists = [_list(each) for each in (groups.values() if groups else [every])]
    if len({kind for kind, _ in lists}) > 1:
        return None
    texts = [units_text(units) for _, units in lists]
    value = dict(zip(groups, texts, strict=True)) if groups else texts[0]
    return {"method": f"{'keep' if lists[0][0] == 'kept' else 'drop'}_{argument}", argument: value}


def _list(units: Mapping[str, Any]) -> tuple[str, list[int]]:
    bits = field(units, "kept_bits")
    if bits is not None:
        kept = b64decode(bits)
        return "kept", [unit for unit in range(8 * len(kept)) if kept[unit // 8] >> unit % 8 & 1]
    kind = "kept" if units.get("kept") else "pruned"
    return kind, [int(unit) for unit in units.get(kind, ())]


def field(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in the contract, or the one that JSON has for it."""
    first, *others = name.split("_")
    return fields.get(name, fields.get(first + "".join(map(str.capitalize, others))))
