"""Names of single experts in config.json, such as modules that are not quantized, follow the experts' new numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_client.huggingface.experts.counts import EXPERT_MAPS
from pruning_client.results.group_report import GroupReport
from pruning_proto.reasons import Reason

_FIELD: Final = "quantization_config"
_UNIT: Final = "{unit}"
_PATTERN: Final = "re:"
_NUMBERED: Final = re.compile(r"experts\\?\.\d")


def with_renumbered_experts(config: Mapping[str, Any], groups: Sequence[GroupReport]) -> dict[str, Any]:
    """Return the config whose quantization names experts by their new numbers; names of removed ones are left out.

    Raises: MismatchError for a pattern that names experts by their numbers.
    """
    holders = {
        tie.partition(_UNIT)[0]: group
        for group in groups
        if group.map in EXPERT_MAPS
        for tie in group.tensors
        if _UNIT in tie
    }
    if _FIELD not in config or not holders:
        return dict(config)
    return {**config, _FIELD: _renumbered(config[_FIELD], holders)}


def _renumbered(value: Any, holders: Mapping[str, GroupReport]) -> Any:
    if isinstance(value, dict):
        return {
            new: _renumbered(each, holders)
            for name, each in value.items()
            if (new := _new_name(name, holders)) is not None
        }
    if isinstance(value, list):
        names = [_new_name(each, holders) if isinstance(each, str) else _renumbered(each, holders) for each in value]
        return [each for each in names if each is not None]
    return value


def _new_name(name: str, holders: Mapping[str, GroupReport]) -> str | None:
    """Return the name with its expert's new number; None if the expert is gone."""
    if name.startswith(_PATTERN):
        if _NUMBERED.search(name):
            raise MismatchError(
                f"config.json ({_FIELD}) has the pattern {name!r}, which names experts by their numbers, and these "
                "change; list the modules by their full names first",
                reason=Reason.UNPRUNABLE_DTYPE,
                metadata={"field": _FIELD},
            )
        return name
    for holder, group in holders.items():
        number, dot, rest = name.removeprefix(holder).partition(".")
        if name.startswith(holder) and number.isdecimal() and int(number) < group.units:
            kept = group.kept.index(int(number)) if int(number) in group.kept else None
            return None if kept is None else f"{holder}{kept}{dot}{rest}"
    return name
