"""Whether the layers of a model that lost some are what they were: their modules, and every setting that these have.

The child process of `transformers_check` compares the two models, which it has built. So a setting of single layers
that no table knows is still found, such as a sliding window or a rotary embedding that the wrong layer has.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pruning_client.huggingface.layers.fields import INDICES

_NUMBER: Final = re.compile(r"layer_?(?:idx|id|index|number|num)$|^idx$|drop|^training$")
"""Attributes that are the layer's own number, or for training only: the rate of dropped paths grows with the depth."""

_DERIVED: Final = ("layer_types", "layers_block_type", "mlp_layer_types", "layers_num_experts")
"""Lists of a config that some classes compute from others."""

_Plain = int | float | str | bool | None


def changed_layers(before: Any, after: Any, stacks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return a sentence for each layer of two transformers models that is not what it was.

    `stacks` have the number of `units`, and those that are `kept`.
    """
    old, new = _lists_of_modules(before), _lists_of_modules(after)
    smaller = set(_smaller_sizes(before.config.to_dict(), after.config.to_dict()))
    for stack in stacks:
        units, kept = stack["units"], stack["kept"]
        for path in old.keys() & new.keys():
            if (len(old[path]), len(new[path])) == (units, len(kept)):
                yield from _changed_modules(path, old[path], new[path], kept, smaller)
        yield from _changed_lists(before.config, after.config, units, kept)


def _lists_of_modules(model: Any) -> dict[str, Sequence[Any]]:
    """Return the numbered modules of a model by the name before their number, but those inside others."""
    found: dict[str, Sequence[Any]] = {}
    for path, module in model.named_modules():
        children = [name for name, _ in module.named_children()]
        is_inside = any(path.startswith(f"{other}.") for other in found)
        if len(children) > 1 and children == [str(at) for at in range(len(children))] and not is_inside:
            found[path] = list(module)
    return found


def _changed_modules(
    path: str, old: Sequence[Any], new: Sequence[Any], kept: Sequence[int], smaller: set[tuple[int, int]]
) -> Iterator[str]:
    for number, was in enumerate(kept):
        settings = _settings(new[number]), _settings(old[was])
        for name in sorted(settings[0].keys() | settings[1].keys()):
            now, then = (each.get(name, "missing") for each in settings)
            if now != then and not _is_smaller(then, now, smaller):
                yield f"layer {number} of {path!r}, which was layer {was}, has {name} {now!r} and had {then!r}"
                break


def _smaller_sizes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Return the numbers of two configs that other rules of the recipe made smaller, such as intermediate_size.

    Those of layers are left out: no setting of a module follows them.
    """
    for name, then in before.items():
        now = after.get(name)
        if isinstance(then, dict) and isinstance(now, dict):
            yield from _smaller_sizes(then, now)
        elif "layer" not in str(name) and type(then) is int and type(now) is int and 0 < now < then:
            yield then, now


def _is_smaller(then: object, now: object, smaller: set[tuple[int, int]]) -> bool:
    """Whether a size of a module changed in the ratio of one of the config, as 2 * intermediate_size does with it."""
    return type(then) is int and type(now) is int and any(now * was == then * left for was, left in smaller)


def _settings(layer: Any) -> dict[str, object]:
    """Return the kinds of a layer's modules and their settings, by name."""
    found: dict[str, object] = {}
    for path, module in layer.named_modules():
        found[path or "class"] = type(module).__name__
        for name, value in vars(module).items():
            if not name.startswith("_") and not _NUMBER.search(name) and _is_plain(value):
                found[f"{path}.{name}".lstrip(".")] = value
    return found


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _Plain)


def _changed_lists(before: Any, after: Any, units: int, kept: Sequence[int]) -> Iterator[str]:
    """Return lists of the configs whose entries are not those of the layers that are left."""
    for name in sorted({*vars(before), *_DERIVED}):
        old, new = getattr(before, name, None), getattr(after, name, None)
        if isinstance(old, list) and isinstance(new, list) and (len(old), len(new)) == (units, len(kept)):
            expected = _of_kept_layers(name, old, kept)
            if new != expected:
                yield f"{name} of the config is {new}, and should be {expected}"
    for part in getattr(before, "sub_configs", {}):
        inner = getattr(before, part, None), getattr(after, part, None)
        if None not in inner:
            yield from _changed_lists(*inner, units, kept)


def _of_kept_layers(name: str, value: Sequence[Any], kept: Sequence[int]) -> list[Any]:
    """Return what a list of a config says of the layers that are left: their new numbers, or an entry for each."""
    if name in INDICES:
        return [kept.index(layer) for layer in value if layer in kept]
    return [value[layer] for layer in kept]
