"""The numbers of experts in a config.json: a router chooses no more than there are, from groups of equal size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_proto.counted import counted_that

EXPERT_MAPS: Final = frozenset({"experts", "experts_of_layers", "experts_of_mtp"})
"""The built-in maps whose units are experts."""

EXPERTS: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts")
"""Names of the number of experts; where a config has several, transformers takes the first of the first two."""

_CHOSEN: Final = (
    *("num_experts_per_tok", "num_experts_per_token", "num_selected_experts", "top_k_experts", "moe_topk", "moe_top_k"),
    *("moe_k", "router_top_k", "top_k"),
)
_GROUPS: Final = ("n_group", "num_expert_group")
_CHOSEN_GROUPS: Final = "topk_group"
_METHOD: Final = "topk_method"
_RANKED_BY_ONE: Final = "group_limited_greedy"
_UNGROUPED: Final = "greedy"


@dataclass(frozen=True, slots=True)
class ExpertCounts:
    """The experts that one part of a config describes: how many there are and are chosen, and how they are grouped.

    `chosen`: how many a token takes, at least 1. `groups`: groups of consecutive experts, of which each has the same
    number; 1 if the router knows none. `least`: the least number that its router works with. Fields with their names.
    """

    experts: int
    field: str
    chosen: int
    chosen_field: str | None
    groups: int
    groups_field: str | None
    least: int


def expert_counts(part: Mapping[str, Any]) -> ExpertCounts | None:
    """Return the counts of one part of a config; None if it has no experts."""
    experts = _count(part, *EXPERTS)
    if experts is None:
        return None
    chosen = _count(part, *_CHOSEN) or (None, 1)
    groups = _count(part, *_GROUPS) if part.get(_METHOD) != _UNGROUPED else None
    field, number = groups or (None, 1)
    taken = part.get(_CHOSEN_GROUPS)
    of_each = ceil(chosen[1] / taken) if isinstance(taken, int) and taken > 0 else 1
    if groups and part.get(_METHOD) != _RANKED_BY_ONE:
        of_each = max(of_each, 2)  # a group is ranked by its two best experts
    least = max(chosen[1], number * of_each if groups else 1)
    return ExpertCounts(experts[1], experts[0], chosen[1], chosen[0], number, field, least)


def all_expert_counts(config: Mapping[str, Any]) -> Iterator[ExpertCounts]:
    """Return the counts of all parts of a config that have experts."""
    found = expert_counts(config)
    if found is not None:
        yield found
    for part in config.values():
        if isinstance(part, dict):
            yield from all_expert_counts(part)


def check_experts(part: Mapping[str, Any]) -> None:
    """Refuse fewer experts than each token takes, and groups of experts of different sizes. Raises: MismatchError."""
    counts = expert_counts(part)
    if counts is not None:
        check_kept(counts, counts.experts)


def check_kept(counts: ExpertCounts, kept: int) -> None:
    """Refuse a number of experts that the router of a config cannot choose from. Raises: MismatchError."""
    left = f"{counted_that(kept, 'expert')} left ({counts.field})"
    if kept < counts.chosen:
        raise MismatchError(
            f"{left}, and each token takes {counts.chosen} of them ({counts.chosen_field}); "
            f"keep at least {counts.chosen}, or lower {counts.chosen_field} in config.json first",
            metadata={"field": counts.chosen_field or counts.field},
        )
    if kept % counts.groups:
        raise MismatchError(
            f"{left}, which are not {counts.groups} groups of equal size ({counts.groups_field}); keep a multiple of "
            f"{counts.groups}",
            metadata={"field": counts.groups_field or counts.field},
        )
    if kept < counts.least:
        raise MismatchError(
            f"{left} in {counts.groups} groups ({counts.groups_field}), which are too few for the {counts.chosen} that "
            f"a token takes: the router ranks groups by their best experts; keep at least {counts.least}",
            metadata={"field": counts.groups_field or counts.field},
        )


def _count(part: Mapping[str, Any], *names: str) -> tuple[str, int] | None:
    """Return the first of these fields that is a positive number, and its value; of a list, the largest number."""
    for name in names:
        value = part.get(name)
        numbers = value if isinstance(value, list) else [value]
        if numbers and all(isinstance(each, int) and each > 0 for each in numbers):
            return name, max(numbers)
    return None
