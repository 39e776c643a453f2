"""The `config.json` of a Hugging Face model whose channels were removed: its fields are set from the report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pruning_client.errors import MismatchError, recipe_error
from pruning_client.results.report import GroupReport, Report
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

CONFIG: Final = "config.json"

_DERIVED: Final = ("num_key_value_heads", "head_dim")
"""Fields that a config may lack: they follow from others as long as nothing is removed."""

_NAME_THE_FIELD: Final = (
    "a folder's config.json has to state how many units are left: name its field and what one unit counts for, such as "
    '{"intermediate_size": 1}; or prune the safetensors file and load it with `pruning_client.torch.load_pruned`'
)


def read_config(path: Path) -> dict[str, Any]:
    """Return the fields of a config. Raises: OSError. MismatchError if the file is not a JSON object."""
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise MismatchError(f"{path}: is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise MismatchError(f"{path}: is no JSON object")
    return config


def check_head_dims(config: dict[str, Any], recipe: pb.Recipe) -> None:
    """Refuse heads of another size than the model's: such groups may fit its shapes, but would split its heads."""
    known = {size for part in _parts_with(config, "num_attention_heads") if (size := _head_size(part))}
    for position, rule in enumerate(recipe.rules):
        head_dim = rule.granularity.units.head_dim
        if head_dim and known and head_dim not in known:
            description = f"by its {CONFIG} the model's is {' or '.join(map(str, sorted(known)))}, got {head_dim}"
            field = f"recipe.rules[{position}].granularity.units.head_dim"
            raise recipe_error(Reason.INVALID_RECIPE, field, description)


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


def updated_config(config: dict[str, Any], report: Report, recipe: pb.Recipe) -> dict[str, Any]:
    """Return the config that fits the pruned weights. Raises: MismatchError if its fields cannot express them."""
    updated: dict[str, Any] = json.loads(json.dumps(config))
    for name, value in _fields(report.groups, recipe).items():
        part = _part_with(updated, name)
        part[name] = value
        _check_heads(part)
    return updated


def _check_heads(config: Mapping[str, Any]) -> None:
    """Refuse a number of heads that transformers refuses, even if `head_dim` is set."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        raise MismatchError(
            f"transformers loads no model whose hidden_size, {width}, is no multiple of num_attention_heads, which is "
            f"{heads} now; remove another number of groups"
        )


def _fields(groups: tuple[GroupReport, ...], recipe: pb.Recipe) -> dict[str, int]:
    """Return the fields that count units, each with the one value that all groups share."""
    fields: dict[str, int] = {}
    first: dict[str, str] = {}  # the group that set a field first
    last = {(group.name, group.tensors): group for group in groups}  # a later rule acts on what the earlier ones left
    for group in last.values():
        if not group.config and len(group.kept) < group.units:
            raise MismatchError(
                f"group {group.name!r} lost units, and no field of config.json counts them; {_NAME_THE_FIELD}"
            )
        for name, value in (*group.config.items(), *_head_dim(group, recipe)):
            if fields.setdefault(name, value) != value:
                raise MismatchError(
                    f"config.json has one {name} for all layers, but {first[name]!r} has {fields[name]} now and "
                    f"{group.name!r} has {value}; ask for the same width (--same-width)"
                )
            first.setdefault(name, group.name)
    return fields


def _head_dim(group: GroupReport, recipe: pb.Recipe) -> list[tuple[str, int]]:
    """Return the size of a head if their number changes: it no longer follows from the hidden size."""
    head_dim = recipe.rules[group.rule].granularity.units.head_dim
    return [("head_dim", head_dim)] if head_dim and "num_attention_heads" in group.config else []


def _part_with(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the part of a config that has a field. Raises: MismatchError if none has it, or several have."""
    parts = _parts_with(config, name)
    if not parts and name in _DERIVED:
        return config
    if not parts:
        raise MismatchError(
            f"{CONFIG} has no field {name}, which should count the units that are left; correct the name in the "
            f"group's config, or write the field into {CONFIG} first"
        )
    if len(parts) > 1:
        raise MismatchError(
            f"{CONFIG} has {name} in several parts, and it is not known in which of them it changed; prune the "
            "safetensors file and load it with `pruning_client.torch.load_pruned`"
        )
    return parts[0]


def _parts_with(config: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the parts of a config that have a field: the config itself, or the configs of submodels nested in it."""
    if name in config:
        return [config]
    return [part for part in config.values() if isinstance(part, dict) and name in part]
