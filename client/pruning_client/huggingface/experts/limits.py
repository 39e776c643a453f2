"""What a model's router asks of rules that remove experts; checked before anything is sent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import lcm
from typing import Any

from pruning_client.errors import MismatchError, recipe_error
from pruning_client.huggingface.experts.counts import EXPERT_MAPS, ExpertCounts, all_expert_counts, check_kept
from pruning_proto.counted import counted
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb


def with_expert_limits(config: Mapping[str, Any], recipe: pb.Recipe) -> pb.Recipe:
    """Return the recipe with what the config says of its routers, where rules remove experts.

    Each layer keeps as many experts as each token takes, the groups of a group-limited router keep the same number, and
    all layers do, which one number in the config counts. Raises: PruningError if a rule cannot keep to that.
    """
    counts = list(all_expert_counts(config))
    if not counts or not any(rule.granularity.units.map in EXPERT_MAPS for rule in recipe.rules):
        return recipe
    completed = pb.Recipe()
    completed.CopyFrom(recipe)
    for position, rule in enumerate(completed.rules):
        if rule.granularity.units.map in EXPERT_MAPS:
            _complete(rule, counts, f"recipe.rules[{position}]")
    return completed


def _complete(rule: pb.Rule, counts: Sequence[ExpertCounts], path: str) -> None:
    units = rule.granularity.units
    groups = lcm(*(each.groups for each in counts))
    if units.balanced_blocks > 1 and units.balanced_blocks % groups:
        description = f"{units.balanced_blocks} are not whole groups of the router, which has {groups}; leave it out"
        raise recipe_error(Reason.INVALID_RECIPE, f"{path}.granularity.units.balanced_blocks", description)
    _check_amount(rule, counts)
    if rule.score.HasField("listed"):
        lists = [
            each for each in (rule.score.listed.every_group, *rule.score.listed.groups.values()) if _is_given(each)
        ]
        for listed in lists:
            _check_listed(listed, counts)
        _check_same_number(lists, counts)
        return
    units.least_kept = max(units.least_kept, *(each.least for each in counts))
    units.same_width = True
    if groups > 1:
        units.balanced_blocks = max(units.balanced_blocks, groups)


def _check_amount(rule: pb.Rule, counts: Sequence[ExpertCounts]) -> None:
    if rule.amount.HasField("kept") and rule.scope != pb.SCOPE_GLOBAL:
        for each in counts:
            check_kept(each, min(rule.amount.kept, each.experts))


def _is_given(listed: pb.UnitList) -> bool:
    return bool(listed.kept or listed.pruned)


def _check_listed(listed: pb.UnitList, counts: Sequence[ExpertCounts]) -> None:
    """Refuse lists that leave too few experts, or groups of different sizes; several counts may be of other layers."""
    if len({each.experts for each in counts}) > 1:
        return
    for each in counts:
        kept = _kept(listed, each)
        check_kept(each, len(kept))
        _check_balance(kept, each)


def _check_same_number(lists: Sequence[pb.UnitList], counts: Sequence[ExpertCounts]) -> None:
    """Refuse lists that leave different numbers of experts, of which a config has one."""
    sizes = sorted({len(_kept(listed, counts[0])) for listed in lists})
    if len(counts) == 1 and len(sizes) > 1:
        raise MismatchError(
            f"layers would keep {' and '.join(map(str, sizes))} experts, and config.json has one number for all "
            f"({counts[0].field}); list as many for each layer, or prune the safetensors file without its folder",
            metadata={"field": counts[0].field},
        )


def _kept(listed: pb.UnitList, counts: ExpertCounts) -> set[int]:
    return set(listed.kept) or set(range(counts.experts)) - set(listed.pruned)


def _check_balance(kept: set[int], counts: ExpertCounts) -> None:
    size = counts.experts // counts.groups
    left = Counter(number // size for number in kept)
    if len({left[group] for group in range(counts.groups)}) > 1:
        sizes = ", ".join(str(left[group]) for group in range(counts.groups))
        raise MismatchError(
            f"the {counts.groups} groups of the router ({counts.groups_field}: {counted(size, 'expert')} each) "
            f"keep {sizes}; "
            "list as many experts of each group",
            metadata={"field": counts.groups_field or counts.field},
        )
