"""Units that the caller lists, resolved for the groups of a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NoReturn

import numpy as np

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.maps.layer_maps import LAYERS
from pruning_engine.granularities.resolved_groups import ResolvedGroup
from pruning_engine.granularities.units import Units
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.recipe import ListedUnits
from pruning_proto.counted import counted, counted_that

MOST_UNITS: Final = 2_000_000
"""Units of all groups of a rule that lists them: the numbers of those that are kept are in plan and report."""


def with_listed(
    score: ListedUnits, units: Units, groups: Sequence[ResolvedGroup], path: str
) -> tuple[ResolvedGroup, ...]:
    """Return a rule's groups with the units that are kept. `path`: of the rule.

    Raises: MismatchError for groups and units that do not exist, and for lists that break a promise of the rule.
    """
    place = f"{path}.score.{score.field}"
    refuse_unknown_groups(score.groups, groups, f"{place}.groups")
    if units.map == LAYERS:
        _check_stack_named(score, groups, place)
    if sum(group.units for group in groups) > MOST_UNITS:
        _refuse(place, groups[0], f"it and all others have more than {MOST_UNITS:,} units; prune in several calls")
    found = tuple(replace(group, kept=_flags(score, group, place).tobytes()) for group in groups)
    for group in found:
        _check(group, units, place)
    _check_widths(found, place)
    return found


def _check_stack_named(score: ListedUnits, groups: Sequence[ResolvedGroup], path: str) -> None:
    """Refuse numbers of layers without a stack where there are several: layer 5 of a vision tower is another layer."""
    if score.every_group is None or len(groups) < 2:
        return
    stacks = ", ".join(f"{group.name!r} ({counted(group.units, 'layer')})" for group in groups)
    raise MismatchError(
        Reason.UNIT_MISFIT,
        f"{path}.every_group: the model has {len(groups):,} stacks of layers: {stacks}; name the ones that lose "
        f"layers, with a list for each: in `groups`, or as {groups[0].name}=LIST on the command line",
        field=f"{path}.every_group",
        tensor=groups[0].first_name,
    )


def refuse_unknown_groups(named: Mapping[str, object], groups: Sequence[ResolvedGroup], path: str) -> None:
    """Refuse names of groups that a rule does not have. Raises: MismatchError."""
    there = {group.name for group in groups}
    unknown = next((name for name in named if name not in there), None)
    if unknown is not None:
        some = ", ".join(repr(group.name) for group in groups[:3]) + (" ..." if len(groups) > 3 else "")
        raise MismatchError(
            Reason.UNIT_MISFIT,
            f"{path}: the rule has no group {unknown!r}; it has {len(groups):,}: {some}",
            field=path,
            tensor=unknown,
        )


def check_blocks(units: Units, groups: Sequence[ResolvedGroup], path: str) -> None:
    """Refuse groups that cannot be cut into the rule's blocks. `path`: of the rule. Raises: MismatchError."""
    for group in groups:
        if group.units % units.balanced_blocks:
            _refuse(
                f"{path}.granularity.units.balanced_blocks",
                group,
                f"its {counted_that(group.units, 'unit')} not {units.balanced_blocks:,} blocks of equal size; "
                f"take the number "
                "from config.json (n_group)",
            )


def _flags(score: ListedUnits, group: ResolvedGroup, path: str) -> BoolArray:
    if group.name in score.groups:
        return score.groups[group.name].flags(group.units, group.name, f'{path}.groups["{group.name}"]')
    if score.every_group is not None:
        return score.every_group.flags(group.units, group.name, f"{path}.every_group")
    return np.ones(group.units, np.bool_)


def _check(group: ResolvedGroup, units: Units, path: str) -> None:
    kept = int(np.count_nonzero(group.kept_flags))
    if kept < min(group.least_kept, group.units):
        _refuse(
            path,
            group,
            f"{kept:,} of its units {'is' if kept == 1 else 'are'} left, and the rule keeps "
            f"{group.least_kept:,} at least",
        )
    lost = next((unit for unit in units.always_kept if not group.kept_flags[unit]), None)
    if lost is not None:
        _refuse(path, group, f"its unit {lost:,} is not kept, and the rule always keeps it (always_kept)")
    if units.balanced_blocks > 1:
        numbers = group.kept_flags.reshape(units.balanced_blocks, -1).sum(axis=1)
        if len(set(numbers.tolist())) > 1:
            _refuse(
                path,
                group,
                f"its {units.balanced_blocks:,} blocks keep {', '.join(map(str, numbers[:8].tolist()))} units; list as "
                "many of each, which balanced_blocks asks for",
            )


def _check_widths(groups: Sequence[ResolvedGroup], path: str) -> None:
    """Refuse different numbers of units where one field of config.json, or same_width, needs equal ones."""
    first: dict[object, ResolvedGroup] = {}
    for group in groups:
        if group.width_key is None:
            continue
        other = first.setdefault(group.width_key, group)
        numbers = [int(np.count_nonzero(each.kept_flags)) for each in (other, group)]
        if numbers[0] != numbers[1]:
            fields = ", ".join(group.config) or "same_width"
            _refuse(
                path,
                group,
                f"it keeps {counted(numbers[1], 'unit')} and group {other.name!r} {numbers[0]:,}, but {fields} "
                f"stands for both; "
                "list as many of each",
            )


def _refuse(path: str, group: ResolvedGroup, text: str) -> NoReturn:
    raise MismatchError(
        Reason.UNIT_MISFIT, f"{path}: group {group.name!r}: {text}", field=path, tensor=group.first_name
    )
