"""The `config.json` of a Hugging Face model whose channels were removed: its fields are set from the report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pruning_client.errors import MismatchError, recipe_error
from pruning_client.huggingface.config_fields import CONFIG as CONFIG  # noqa: PLC0414 - a name of this module
from pruning_client.huggingface.config_fields import PER_LAYER, Place, has_own_widths, name_of, new_values, value_at
from pruning_client.huggingface.experts.counts import check_experts
from pruning_client.huggingface.experts.groups import counted
from pruning_client.huggingface.experts.module_names import with_renumbered_experts
from pruning_client.huggingface.map_editors import EDITORS, edited, map_of
from pruning_client.results.report import GroupReport, Report
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

_NEED_HEAD_DIM: Final = frozenset({"llama_kv_groups"})
"""The built-in maps that take the size of an attention head."""

_OF_WIDTHS: Final = frozenset({"llama_mlp", "bert_ffn"})
"""The built-in maps of feed-forward layers."""

_NAME_THE_FIELD: Final = (
    "a folder's config.json has to state how many units are left: name its field and what one unit counts for, such as "
    '{"intermediate_size": 1}; or prune the safetensors file and load it with `pruning_client.torch.load_pruned`'
)


def read_config(path: Path) -> dict[str, Any]:
    """Return the fields of a config. Raises: OSError. MismatchError if the file is not a JSON object."""
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise MismatchError(f"{path}: is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise MismatchError(f"{path}: is not a JSON object")
    return config


def with_head_dims(config: Mapping[str, Any], recipe: pb.Recipe) -> pb.Recipe:
    """Return the recipe with the size of the model's heads where a map needs it and the rule leaves it out.

    Nothing is filled in where the config does not say it, or says several: then the server asks for it.
    """
    known = _head_sizes(config)
    if len(known) != 1:
        return recipe
    completed = pb.Recipe()
    completed.CopyFrom(recipe)
    for rule in completed.rules:
        if rule.granularity.units.map in _NEED_HEAD_DIM and not rule.granularity.units.head_dim:
            rule.granularity.units.head_dim = min(known)
    return completed


def with_own_widths(config: Mapping[str, Any], recipe: pb.Recipe) -> pb.Recipe:
    """Return the recipe with widths of their own for layers that compete, where the config has one for each layer."""
    if not has_own_widths(config):
        return recipe
    completed = pb.Recipe()
    completed.CopyFrom(recipe)
    for rule in completed.rules:
        units = rule.granularity.units
        if units.map in _OF_WIDTHS and rule.scope == pb.SCOPE_GLOBAL and not units.same_width:
            units.own_widths = True
    return completed


def check_head_dims(config: Mapping[str, Any], recipe: pb.Recipe) -> None:
    """Refuse heads of another size than the model's: such groups may fit its shapes, but would split its heads."""
    known = _head_sizes(config)
    for position, rule in enumerate(recipe.rules):
        head_dim = rule.granularity.units.head_dim
        if head_dim and known and head_dim not in known:
            description = f"by its {CONFIG} the model's is {' or '.join(map(str, sorted(known)))}, got {head_dim}"
            field = f"recipe.rules[{position}].granularity.units.head_dim"
            raise recipe_error(Reason.INVALID_RECIPE, field, description)


def _head_sizes(config: Mapping[str, Any]) -> set[int]:
    """Return the sizes of attention heads, of all submodels that have groups of heads, or else of all."""
    parts = list(_parts_with(config, "num_attention_heads"))
    grouped = [part for part in parts if "num_key_value_heads" in part]
    return {size for part in grouped or parts if (size := _head_size(part))}


def _head_size(config: Mapping[str, Any]) -> int | None:
    """Return the entries of one attention head, as transformers computes it; None if the config does not say."""
    head_dim, width, heads = (config.get(name) for name in ("head_dim", "hidden_size", "num_attention_heads"))
    if isinstance(head_dim, int):
        return head_dim
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads > 0 else None


def check_groups_counted(recipe: pb.Recipe) -> None:
    """Refuse, before the model is pruned, a group whose width no field of config.json would state."""
    for position, rule in enumerate(recipe.rules):
        for index, group in enumerate(rule.granularity.units.groups):
            if not group.config:
                field = f"recipe.rules[{position}].granularity.units.groups[{index}].config"
                raise recipe_error(Reason.INVALID_RECIPE, field, f"is missing; {_NAME_THE_FIELD}")


def updated_config(config: Mapping[str, Any], groups: Sequence[GroupReport], recipe: pb.Recipe) -> dict[str, Any]:
    """Return the config that fits what is left. Raises: MismatchError if its fields cannot express it."""
    updated: dict[str, Any] = json.loads(json.dumps(with_renumbered_experts(config, groups)))
    plain = tuple(group for group in groups if map_of(group, recipe) not in EDITORS)
    for place, value in _new_values(config, plain, recipe).items():
        part = value_at(updated, place[:-1])
        part[place[-1]] = value
        if isinstance(part, dict):
            _check_heads(part)
            check_experts(part)
    for group in edited(groups, recipe):
        updated = EDITORS[map_of(group, recipe)](updated, group)
    return updated


def with_named_fields(config: Mapping[str, Any], report: Report, recipe: pb.Recipe) -> Report:
    """Return the report with the fields of this config.json: a map names those of most architectures."""
    groups = []
    for group in report.groups:
        if map_of(group, recipe) in EDITORS:
            groups.append(group)
            continue
        values = _values_of(config, counted(group), recipe)
        named = {name_of(place): value for place, value in values.items() if isinstance(value, int)}
        groups.append(replace(group, config=named or group.config))  # a multiplier does not count units
    return replace(report, groups=tuple(groups))


def _check_heads(config: Mapping[str, Any]) -> None:
    """Refuse a number of heads that transformers refuses, even if `head_dim` is set."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        raise MismatchError(
            f"transformers loads no model whose hidden_size, {width}, is not a multiple of num_attention_heads, which "
            f"is {heads} now; remove another number of groups"
        )


def _new_values(config: Mapping[str, Any], groups: tuple[GroupReport, ...], recipe: pb.Recipe) -> dict[Place, float]:
    """Return the values that count units, each the one that all groups share. Raises: MismatchError."""
    values: dict[Place, float] = {}
    first: dict[Place, str] = {}  # the group that set a value first
    last = {
        (group.name, group.tensors): group for group in map(counted, groups)
    }  # a later rule acts on what the earlier ones left
    for group in last.values():
        if not group.config and len(group.kept) < group.units:
            raise MismatchError(
                f"group {group.name!r} lost units, and no field of config.json counts them; {_NAME_THE_FIELD}"
            )
        for place, value in _values_of(config, group, recipe).items():
            if values.setdefault(place, value) != value:
                raise MismatchError(
                    f"config.json has one {name_of(place)} for all layers, but {first[place]!r} has {values[place]} "
                    f"now and {group.name!r} has {value}; ask for the same width (--same-width)"
                )
            first.setdefault(place, group.name)
    return values


def _values_of(config: Mapping[str, Any], group: GroupReport, recipe: pb.Recipe) -> dict[Place, float]:
    """Return the values that one group sets."""
    units = recipe.rules[group.rule].granularity.units
    return new_values(config, group, units.head_dim, is_mapped=bool(map_of(group, recipe)))


def _parts_with(config: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Return the parts of a config that have a field: the config itself, and the configs of submodels nested in it."""
    if name in config:
        yield config
    for key, part in config.items():
        if isinstance(part, dict) and key != PER_LAYER:
            yield from _parts_with(part, name)
