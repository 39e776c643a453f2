"""What other parts of a config say of the layers of a stack: hidden states that are taken, and names of modules."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from pruning_client.huggingface.config_fields import Place, value_at
from pruning_client.huggingface.layers.fields import HIDDEN_STATES
from pruning_client.huggingface.layers.lists import may_be_layers
from pruning_client.huggingface.layers.removal import Removal

_VISION: Final = "vision"
_QUANTIZATION: Final = "quantization_config"
_DEEPSTACK: Final = "deepstack_visual_indexes"
_STAGES, _STAGES_TAKEN, _STAGE_NAMES_TAKEN = "stage_names", "out_indices", "out_features"
_REGULAR: Final = "re:"


def update_references(config: dict[str, Any], place: Place, removal: Removal) -> None:
    """Change, in place, what refers to the layers of the part at `place`. Raises: MismatchError if it cannot be."""
    is_vision = any(_VISION in str(key) for key in place)
    for depth in range(len(place) + 1):
        part: dict[str, Any] = value_at(config, place[:depth])
        _shift_hidden_states(part, removal, is_vision=is_vision, is_own=depth == len(place))
        if depth < len(place):
            _check_above(part, removal)
        if _QUANTIZATION in part:
            part[_QUANTIZATION] = _renamed(part[_QUANTIZATION], removal)
    _update_stages(value_at(config, place), removal)
    _check_deepstack(config, value_at(config, place), removal)


def _shift_hidden_states(part: MutableMapping[str, Any], removal: Removal, *, is_vision: bool, is_own: bool) -> None:
    for name in HIDDEN_STATES & part.keys():
        if is_own or (is_vision and name != "feature_layer"):
            value = part[name]
            several = value if isinstance(value, list) else [value]
            if all(isinstance(each, int) for each in several):
                shifted = [_hidden_state(each, removal) for each in several]
                part[name] = shifted if isinstance(value, list) else shifted[0]


def _update_stages(part: MutableMapping[str, Any], removal: Removal) -> None:
    """Name the hidden states of a backbone, of which some are taken, by number (`out_indices`) and by name."""
    names = part.get(_STAGES)
    if not isinstance(names, list) or len(names) != removal.layers + 1:
        return
    part[_STAGES] = names[: len(removal.kept) + 1]
    if isinstance(part.get(_STAGES_TAKEN), list):
        part[_STAGES_TAKEN] = [_hidden_state(each, removal) for each in part[_STAGES_TAKEN]]
        if isinstance(part.get(_STAGE_NAMES_TAKEN), list):
            part[_STAGE_NAMES_TAKEN] = [part[_STAGES][each] for each in part[_STAGES_TAKEN]]


def _hidden_state(number: int, removal: Removal) -> int:
    """Return the new number of a hidden state: number n is behind n layers, negative numbers count from the end."""
    states = removal.layers + 1
    behind = removal.before(number + states if number < 0 else number)
    return behind - (len(removal.kept) + 1) if number < 0 else behind


def _check_above(part: Mapping[str, Any], removal: Removal) -> None:
    for name, value in part.items():
        if name not in HIDDEN_STATES and isinstance(value, list) and may_be_layers(name, value, removal):
            removal.refuse(name, "these may be numbers of layers, and that is not known; change it by hand")


def _check_deepstack(config: Mapping[str, Any], own: Mapping[str, Any], removal: Removal) -> None:
    """Refuse to remove layers behind which features of images are added: those are counted from the first layer on."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        features = None if part is own else part.get(_DEEPSTACK)
        count = len(features) if isinstance(features, list) else 0
        if removal.before(count) < min(count, removal.layers):
            removal.refuse(
                f"{_DEEPSTACK} {features}", f"features of images are added behind the first {count} layers; keep these"
            )


def _renamed(value: Any, removal: Removal) -> Any:
    """Return lists and dicts with the new names of modules; those of removed layers are left out."""
    if isinstance(value, dict):
        pairs = ((_new_name(key, removal), each) for key, each in value.items())
        return {key: _renamed(each, removal) for key, each in pairs if key is not None}
    if isinstance(value, list):
        names = (_new_name(each, removal) if isinstance(each, str) else _renamed(each, removal) for each in value)
        return [each for each in names if each is not None]
    return value


def _new_name(name: str, removal: Removal) -> str | None:
    """Return the new name of a module; None if it was of a removed layer."""
    last = removal.name.rpartition(".")[2]
    found = re.search(rf"((?:^|[^.]*\.)*{re.escape(last)})\\?\.(\d+)(?=\\?\.|$)", name)
    if found is None or not _is_same_stack(found[1].removeprefix(_REGULAR), removal.name):
        return name
    if name.startswith(_REGULAR):
        removal.refuse(f"{_QUANTIZATION} {name!r}", "it names layers by a regular expression; change it by hand")
    layer = int(found[2])
    if layer < removal.layers and not removal.is_kept(layer):
        return None
    return f"{name[: found.start(2)]}{removal.renumbered(layer)}{name[found.end(2) :]}"


def _is_same_stack(one: str, other: str) -> bool:
    """Whether one prefix is the end of the other."""
    return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}") or one.startswith((".*", "^"))
