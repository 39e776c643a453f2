"""The config.json of a model that has lost layers: every field that is about layers fits those that are left."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pruning_client.huggingface.config_fields import CONFIG, part_of, value_at
from pruning_client.huggingface.layers.fields import (
    COUNTS,
    FIRST,
    LAST,
    LAST_INDEX,
    LISTS,
    ROOT_OF_COUNT,
    SHARED,
    SHARED_MODELS,
)
from pruning_client.huggingface.layers.lists import cut_list, refuse_nested, renumbered_keys
from pruning_client.huggingface.layers.patterns import check_patterns
from pruning_client.huggingface.layers.references import update_references
from pruning_client.huggingface.layers.removal import Removal, removal_of
from pruning_client.results.group_report import GroupReport

_LAYER: Final = "layer"
_STACKS: Final = frozenset({"encoder", "decoder"})
"""Words in fields of one of two stacks."""


def without_layers(config: Mapping[str, Any], group: GroupReport) -> dict[str, Any]:
    """Return the config of the layers that are left of a group. Raises: as `with_layers_removed`."""
    return with_layers_removed(config, removal_of(group))


def with_layers_removed(config: Mapping[str, Any], removal: Removal) -> dict[str, Any]:
    """Return the config of the layers that are left. Raises: MismatchError that names what it cannot express."""
    result: dict[str, Any] = json.loads(json.dumps(config))
    if len(removal.kept) == removal.layers:
        return result
    place = part_of(config, removal.name, COUNTS)
    part: Mapping[str, Any] = value_at(config, place)
    edited: dict[str, Any] = value_at(result, place)
    _check_independent(config, part, removal)
    edited |= dict.fromkeys(_counts(part, removal), len(removal.kept))
    for name, value in part.items():
        if name not in COUNTS:
            edited |= _edited_field(name, value, removal, ".".join([*map(str, place), name]))
    check_patterns(part, edited, removal)
    update_references(result, place, removal)
    return result


def _edited_field(name: str, value: Any, removal: Removal, field: str) -> dict[str, Any]:
    """Return the new value of a field by its name; nothing if it stays."""
    if isinstance(value, list) or (isinstance(value, str) and name in LISTS):
        return {name: cut_list(name, value, removal, field)}
    if isinstance(value, dict):
        if not _is_submodel(value):
            refuse_nested(value, removal, field)
        return {name: renumbered_keys(name, value, removal, field)}
    if name in ROOT_OF_COUNT and isinstance(value, int | float):
        return {name: value * math.sqrt(len(removal.kept) / removal.layers)}
    if isinstance(value, int) and not isinstance(value, bool):
        return {name: _shifted(name, value, removal)}
    return {}


def _shifted(name: str, value: int, removal: Removal) -> int:
    """Return the new value of a field that counts layers from one end, or is the number of one; or the old one."""
    if name in FIRST and 0 <= value <= removal.layers:
        return removal.before(value)
    if name in LAST and 0 <= value <= removal.layers:
        return len(removal.kept) - removal.before(removal.layers - value)
    if name in LAST_INDEX and 0 <= value < removal.layers:
        return removal.before(value + 1) - 1
    return value


def _check_independent(config: Mapping[str, Any], part: Mapping[str, Any], removal: Removal) -> None:
    """Refuse layers that use others, or compute by their own number. Raises: MismatchError."""
    for each in (config, part):
        model = each.get("model_type")
        if model in SHARED_MODELS:
            removal.refuse(f"model_type {model}", f"{SHARED_MODELS[model]}; its layers cannot be removed")
    for name, why in SHARED.items():
        if part.get(name):
            removal.refuse(f"{name} {_short(part[name])}", f"{why}; layers of such a model cannot be removed")


def _counts(part: Mapping[str, Any], removal: Removal) -> list[str]:
    """Return the fields that count the layers of the stack. Raises: MismatchError if there are none."""
    words = set(removal.name.replace(".", "_").split("_"))
    known = [name for name in COUNTS if _is_whole(part.get(name)) and _stack_of(name) <= words]
    own = [name for name in known if _stack_of(name)]
    if "decoder" in words and own:
        known = own
    found = [name for name in known if part[name] == removal.layers]
    has_list = any(
        len(value) == removal.layers and "layer" in name for name, value in part.items() if isinstance(value, list)
    )
    if not found and (known or not has_list):
        values = " and ".join(f"{name} {part[name]}" for name in known) or "no field that counts layers"
        removal.refuse(
            values, f"the stack has {removal.layers} layers; correct {CONFIG} first, or prune the safetensors file"
        )
    return found


def _stack_of(name: str) -> frozenset[str]:
    return _STACKS & set(name.split("_"))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_submodel(value: Mapping[str, Any]) -> bool:
    return "model_type" in value or any(_is_whole(value.get(name)) for name in COUNTS)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:20]}..."
