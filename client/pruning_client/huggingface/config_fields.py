"""Which field of config.json counts the units of a group, and where in it: in the part of the submodel that the group's
prefix names, there perhaps in the overrides of its layer, and under the name that this architecture uses.

A field is only taken if it counts the group's units now. So a name that means something else is never changed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pruning_client.errors import MismatchError
from pruning_client.huggingface.experts.counts import EXPERTS
from pruning_client.huggingface.experts.groups import COUNT
from pruning_client.huggingface.layer_widths import LayerWidth, has_layer_widths, layer_width
from pruning_client.results.report import GroupReport
from pruning_proto.counted import counted, counted_that
from pruning_proto.reasons import Reason

Place: TypeAlias = tuple[str | int, ...]
"""The keys of a value, from the config inwards."""

CONFIG: Final = "config.json"

WIDTH: Final = "intermediate_size"
"""The field by which built-in maps name the inner width of dense feed-forward layers."""

PER_LAYER: Final = "per_layer_config"
"""Overrides of single layers: a mapping of a layer's number, or of its type in `layer_types`, to fields."""

_ROUTED: Final = ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size", "ffn_hidden_size")
_SHARED_COUNTS: Final = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")

_MAPPED: Final[Mapping[str, tuple[str, ...]]] = {
    "intermediate_size": (
        *("intermediate_size_mlp", "intermediate_size", "ffn_dim", "ffn_hidden_size", "hidden_dim", "d_ff", "n_inner"),
        *("encoder_ffn_dim", "decoder_ffn_dim", "feed_forward_proj_dim", "mlp_dim"),
    ),
    "moe_intermediate_size": _ROUTED,
    "shared_expert_intermediate_size": (
        *("shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"),
        *_ROUTED,
    ),
    COUNT: EXPERTS,
    "num_attention_heads": ("num_attention_heads", "num_heads", "n_heads", "n_head"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "multi_query_group_num"),
}
"""For the fields that built-in maps name: what architectures call them, the most specific first."""

_STACKS: Final = ("encoder", "decoder")
"""Stacks of one model whose fields begin with their name."""

_DERIVED: Final = ("num_key_value_heads", "head_dim")
"""Fields that a config may lack: they follow from others as long as nothing is removed."""

_DERIVED_FROM: Final = ("num_attention_heads",)
"""A field beside which they are."""

_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text", "language", "llm", "lm"}),
    "vision": frozenset({"vision", "visual", "image", "vit"}),
    "audio": frozenset({"audio", "speech"}),
}
"""Words in the names of tensors that stand for a submodel; by default its own name."""


def new_values(config: Mapping[str, Any], group: GroupReport, head_dim: int, *, is_mapped: bool) -> dict[Place, float]:
    """Return the values that a group of units sets.

    `head_dim` is that of its rule, 0 if it has none. `is_mapped`: the fields are those of a built-in map, which
    architectures name differently.
    Raises: MismatchError if no field counts the group's units, or it is not known which.
    """
    values: dict[Place, float] = {}
    for name, value in group.config.items():
        if is_mapped and name == WIDTH and (found := _layer_width(config, group)) is not None:
            values[found.place] = _number(config, found, group, value)
            continue
        names = _MAPPED.get(name, (name,)) if is_mapped else (name,)
        part = part_of(config, group.name, (*names, *_DERIVED_FROM) if name in _DERIVED else names)
        for place, each in _counters(config, part, group, name, names):
            values[place] = _divided(value, each, place, group)
        if name == "num_attention_heads":
            values |= _head_dim(config, part, group, head_dim)
    return values


def has_own_widths(config: Mapping[str, Any]) -> bool:
    """Whether a config, or a part of it, has a feed-forward width for each layer."""
    return has_layer_widths(config, _MAPPED[WIDTH]) or any(has_own_widths(part) for _, part in _inner(config))


def value_at(config: Mapping[str, Any], place: Place) -> Any:
    """Return the value at a place; None if there is none."""
    value: Any = config
    for key in place:
        if isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def name_of(place: Place) -> str:
    """Return a place as people read it: `text_config.intermediate_size`."""
    return ".".join(map(str, place))


def _layer_width(config: Mapping[str, Any], group: GroupReport) -> LayerWidth | None:
    """Return the number that a group's width follows from; None if the config has the width itself, or neither."""
    part = part_of(config, group.name, ("ffn_multipliers", "block_configs"))
    found = layer_width(value_at(config, part), _layer(group.name))
    return None if found is None else replace(found, place=(*part, *found.place))


def _number(config: Mapping[str, Any], width: LayerWidth, group: GroupReport, value: int) -> float:
    """Return the new number that a width follows from. Raises: MismatchError if it is another one now, or none fits."""
    units = group.config[WIDTH] // len(group.kept) * group.units
    now, number = value_at(config, width.place), width.number_of(value)
    if not isinstance(now, int | float) or width.width_of(now) != units:
        raise _error(
            group, f"{CONFIG} has {name_of(width.place)} {now}, which does not give its {counted(units, 'unit')}"
        )
    if width.width_of(number) != value:
        raise _error(
            group,
            f"{counted_that(value, 'unit')} left, and widths that {name_of(width.place)} gives are multiples of "
            f"{width.step}; "
            f"keep a multiple (--round-to {width.step})",
        )
    return number


def _counters(
    config: Mapping[str, Any], part: Place, group: GroupReport, name: str, names: Sequence[str]
) -> Iterator[tuple[Place, int]]:
    """Return the places that count the units of a group, each with how often its value goes into their number."""
    units = group.config[name] // len(group.kept) * group.units
    places = [_place(config, part, each, group.name) for each in names if _applies(each, group.name)]
    found = [place for place in places if _is_count(config, place)]
    if not found:
        if name not in _DERIVED:
            raise _error(
                group,
                f"{CONFIG} has no field {name}, which should count the units that are left; correct the name in the "
                f"group's config, or write the field into {CONFIG} first",
            )
        yield (*part, name), 1
        return
    for place in found:
        for each in (1, *_shared_counts(config, part, name)):
            if value_at(config, place) * each == units:
                yield from ((other, each) for other in _same_fields(config, place))
                return
    known = " and ".join(f"{name_of(place)} {value_at(config, place):,}" for place in found)
    raise _error(
        group, f"{CONFIG} has {known}, and the group has {units:,} to count; no field of {CONFIG} describes it"
    )


def _applies(name: str, prefix: str) -> bool:
    """Whether a field is not one of the other stack: `decoder_ffn_dim` is for prefixes with `decoder`."""
    stack = name.partition("_")[0]
    return stack not in _STACKS or stack in prefix.split(".")


def _is_count(config: Mapping[str, Any], place: Place) -> bool:
    value = value_at(config, place)
    return isinstance(value, int) and not isinstance(value, bool)


def _shared_counts(config: Mapping[str, Any], part: Place, name: str) -> list[int]:
    """Return the numbers of shared experts that one MLP stands for."""
    if name != "shared_expert_intermediate_size":
        return []
    counts = [value_at(config, (*part, each)) for each in _SHARED_COUNTS]
    return [count for count in counts if isinstance(count, int) and count > 1]


def _same_fields(config: Mapping[str, Any], place: Place) -> list[Place]:
    """Return the places of one field under all of its names: transformers writes either, and one of them wins."""
    same = EXPERTS if place[-1] in EXPERTS else ()
    value = value_at(config, place)
    return [
        place,
        *(other for each in same if (other := (*place[:-1], each)) != place and _is_same(config, other, value)),
    ]


def _is_same(config: Mapping[str, Any], place: Place, value: int) -> bool:
    return _is_count(config, place) and value_at(config, place) == value


def _divided(value: int, each: int, place: Place, group: GroupReport) -> int:
    if value % each:
        raise _error(
            group,
            f"{value:,} units are left, which {name_of(place)} counts in steps of {each}; keep a multiple of {each} "
            "(--round-to)",
        )
    return value // each


def _head_dim(config: Mapping[str, Any], part: Place, group: GroupReport, head_dim: int) -> dict[Place, int]:
    """Return the size of a head where it followed from the number of heads, which has changed."""
    if _is_count(config, _place(config, part, "head_dim", group.name)):
        return {}
    width, heads = (value_at(config, (*part, name)) for name in ("hidden_size", "num_attention_heads"))
    if isinstance(width, int) and isinstance(heads, int) and heads > 0:
        return {(*part, "head_dim"): width // heads}
    return {(*part, "head_dim"): head_dim} if head_dim else {}


def _place(config: Mapping[str, Any], part: Place, name: str, prefix: str) -> Place:
    """Return where a field is for the layer of a prefix: an override, an entry of a list, or the field itself."""
    place, layer = (*part, name), _layer(prefix)
    if layer is not None:
        types = value_at(config, (*part, "layer_types"))
        kind = types[layer] if isinstance(types, list) and layer < len(types) else None
        for key in (str(layer), str(kind)):
            override = (*part, PER_LAYER, key, name)
            if value_at(config, override) is not None:
                return override
        values = value_at(config, place)
        if isinstance(values, list) and layer < len(values):
            return (*place, layer)
    return place


def _layer(prefix: str) -> int | None:
    """Return the number of the layer in a prefix: its first number."""
    found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", prefix)
    return int(found[1]) if found else None


def part_of(config: Mapping[str, Any], prefix: str, names: Sequence[str]) -> Place:
    """Return the part of the config that describes the submodel of a prefix. Raises: MismatchError if several may."""
    nested = _inner(config)
    named = [(at, key) for key, _ in nested if (at := _mentioned(prefix, key)) is not None]
    if named:
        key = min(named)[1]
        return key, *part_of(config[key], prefix, names)
    inner = [key for key, value in nested if _has(value, names)]
    if any(name in config for name in names):
        return ()
    texts = [key for key in inner if _stem(key) in _WORDS["text"]]
    likely = inner if len(inner) == 1 else texts
    if len(likely) == 1:
        return likely[0], *part_of(config[likely[0]], prefix, names)
    if len(inner) > 1:
        raise MismatchError(
            f"{CONFIG} has {names[0]} in several parts ({', '.join(inner)}), and it is not known in which of them it "
            f"changed: {prefix!r} names none of them; prune the safetensors file and load it with "
            "`pruning_client.torch.load_pruned`",
            reason=Reason.TIE_MISFIT,
        )
    return ()


def _has(part: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(name in part for name in names) or any(_has(value, names) for _, value in _inner(part))


def _inner(part: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the parts that are nested in a part."""
    return [(key, value) for key, value in part.items() if isinstance(value, dict) and key != PER_LAYER]


def _mentioned(prefix: str, key: str) -> int | None:
    """Return the first segment of a prefix that names a part of the config; None if there is none."""
    stem = _stem(key)
    words = _WORDS.get(stem, frozenset({stem}))
    segments = prefix.lower().split(".")
    return next((at for at, segment in enumerate(segments) if words & {segment, *segment.split("_")}), None)


def _stem(key: str) -> str:
    return key.removesuffix("_config")


def _error(group: GroupReport, text: str) -> MismatchError:
    return MismatchError(f"group {group.name!r}: {text}", metadata={"tensor": group.tensors[0]})
