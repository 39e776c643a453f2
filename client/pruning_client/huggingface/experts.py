"""The numbers of experts in a config.json: a router chooses no more than there are, from groups of equal size."""

from collections.abc import Mapping
from typing import Any, Final

from pruning_client.errors import MismatchError

_EXPERTS: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts")
_CHOSEN: Final = (
    *("num_experts_per_tok", "num_experts_per_token", "num_selected_experts", "top_k_experts", "moe_topk", "moe_top_k"),
    *("moe_k", "router_top_k", "top_k"),
)
_GROUPS: Final = "n_group"


def check_experts(part: Mapping[str, Any]) -> None:
    """Refuse fewer experts than each token takes, and groups of experts of different sizes. Raises: MismatchError."""
    experts = _count(part, *_EXPERTS)
    chosen = _count(part, *_CHOSEN)
    if experts is None:
        return
    if chosen is not None and chosen[1] > experts[1]:
        raise MismatchError(
            f"{experts[1]} experts are left ({experts[0]}), and each token takes {chosen[1]} of them ({chosen[0]}); "
            f"keep at least {chosen[1]}, or lower {chosen[0]} in config.json first",
            metadata={"field": chosen[0]},
        )
    groups = _count(part, _GROUPS)
    if groups is not None and experts[1] % groups[1]:
        raise MismatchError(
            f"{experts[1]} experts are left ({experts[0]}), which are not {groups[1]} groups of equal size "
            f"({_GROUPS}); keep a multiple of {groups[1]} (--round-to)",
            metadata={"field": _GROUPS},
        )


def _count(part: Mapping[str, Any], *names: str) -> tuple[str, int] | None:
    """Return the first of these fields that is a positive number, and its value."""
    for name in names:
        value = part.get(name)
        if isinstance(value, int) and value > 0:
            return name, value
    return None
