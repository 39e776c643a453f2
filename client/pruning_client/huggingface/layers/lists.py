"""Lists and dicts of a config that have something for each layer, or name layers by their numbers."""

from collections.abc import Mapping
from typing import Any, Final

from pruning_client.huggingface.layers.fields import INDICES, LISTS, OF_LAYER, STAGES, TAPS, TOLERATED
from pruning_client.huggingface.layers.removal import Removal

_LAYER: Final = "layer"
_FURTHER: Final = ("mtp_", "nextn_")
"""What the names of lists of multi-token-prediction layers begin with."""

_NUMBERS: Final = ("_ids", "_idx", "_idxs", "_index", "_indexes", "_indices", "_layers")
_SHARED_INDEX: Final = "indexer_types"
_MOST_BY_CHANCE: Final = 4
"""A list of another name and up to this length may have as many entries as there are layers by chance."""


def cut_list(name: str, value: list[Any] | str, removal: Removal, field: str) -> list[Any] | str:
    """Return a list without what belongs to removed layers. Raises: MismatchError if it is not known how."""
    if name in INDICES and isinstance(value, list):
        return _renumbered(value, removal, field)
    if name in TAPS and isinstance(value, list):
        return _tapped(value, removal, field)
    if name.startswith(_FURTHER) or name in STAGES:
        return value
    is_per_layer = (_LAYER in name or name in LISTS) and len(value) >= removal.layers
    if isinstance(value, str):
        return "".join(removal.cut(value)) if is_per_layer and len(value) == removal.layers else value
    if is_per_layer:
        return _cut_per_layer(name, value, removal, field)
    _check_unknown(name, value, removal, field)
    return value


def renumbered_keys(name: str, value: Mapping[str, Any], removal: Removal, field: str) -> dict[str, Any]:
    """Return a dict whose keys are layers without the removed ones. Raises: MismatchError for an unknown dict."""
    numbers = {key for key in value if key.isdecimal() and int(key) < removal.layers}
    if not numbers or name in TOLERATED:
        return dict(value)
    if name != OF_LAYER:
        removal.refuse(field, "its keys may be numbers of layers, and that is not known; change it by hand")
    renamed = ((_renumbered_key(key, removal) if key in numbers else key, each) for key, each in value.items())
    return {key: each for key, each in renamed if key is not None}


def _renumbered_key(key: str, removal: Removal) -> str | None:
    return str(removal.before(int(key))).zfill(len(key)) if removal.is_kept(int(key)) else None


def _cut_per_layer(name: str, value: list[Any], removal: Removal, field: str) -> list[Any]:
    cut = removal.cut(value)
    if _are_numbers_of_layers(value, removal) and cut != _renumbered(value, removal, field):
        removal.refuse(
            field,
            "it may have the numbers of layers, or a number for each layer, and which of the two is not known; change "
            "it by hand and prune the safetensors file",
        )
    if name == _SHARED_INDEX:
        _check_sources(value, removal, field)
    return cut


def _check_sources(value: list[Any], removal: Removal, field: str) -> None:
    """Refuse a layer that uses what an earlier one computes, if that one is removed."""
    source = 0
    for layer, kind in enumerate(value[: removal.layers]):
        source = layer if kind != "shared" else source
        if removal.is_kept(layer) and not removal.is_kept(source):
            removal.refuse(field, f"layer {layer} uses what layer {source} computes; keep both or neither")


def _renumbered(value: list[Any], removal: Removal, field: str) -> list[Any]:
    """Return the new numbers of the layers that are left; those of no layer of the stack move down."""
    if not all(isinstance(each, int) and each >= 0 for each in value):
        removal.refuse(field, f"numbers of layers from 0 on are expected, got {value}; change it by hand")
    return [removal.renumbered(each) for each in value if each >= removal.layers or removal.is_kept(each)]


def _tapped(value: list[Any], removal: Removal, field: str) -> list[Any]:
    for layer in value:
        if isinstance(layer, int) and 0 <= layer < removal.layers and not removal.is_kept(layer):
            removal.refuse(field, f"the output of layer {layer} is used elsewhere; keep this layer")
    return _renumbered(value, removal, field)


def may_be_layers(name: str, value: list[Any], removal: Removal) -> bool:
    """Whether a list of a field that is not known may have numbers of layers, which are others now."""
    may_be_numbers = name.endswith(_NUMBERS) and _are_numbers_of_layers(value, removal)
    return may_be_numbers and "token" not in name and _renumbered(value, removal, name) != value


def refuse_nested(part: Mapping[str, Any], removal: Removal, field: str) -> None:
    """Refuse lists in a nested dict that may be about layers. Raises: MismatchError."""
    for name, value in part.items():
        if isinstance(value, dict):
            refuse_nested(value, removal, f"{field}.{name}")
        is_per_layer = isinstance(value, list) and _LAYER in name and len(value) >= removal.layers
        if isinstance(value, list) and (is_per_layer or may_be_layers(name, value, removal)):
            removal.refuse(f"{field}.{name}", "it may be about layers, and that is not known; change it by hand")


def _check_unknown(name: str, value: list[Any], removal: Removal, field: str) -> None:
    """Refuse a list that may be about layers, and is not known."""
    if may_be_layers(name, value, removal):
        removal.refuse(field, "these may be numbers of layers, and that is not known; change it by hand")
    if len(value) == removal.layers > _MOST_BY_CHANCE and "token" not in name:
        removal.refuse(field, "it has as many entries as there are layers, and what they are is not known")


def _are_numbers_of_layers(value: list[Any], removal: Removal) -> bool:
    is_whole = all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    return bool(value) and is_whole and value == sorted(set(value)) and 0 <= value[0] <= value[-1] < removal.layers
