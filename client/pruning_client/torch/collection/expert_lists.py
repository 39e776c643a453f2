"""Mixtures of experts as a list of modules beside a linear router, as models had them before transformers 5."""

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from pruning_client.torch.collection.padding import Padding

_ROUTERS = ("gate", "router")
_CHOSEN = ("top_k", "num_experts_per_tok", "num_experts_per_token")
_CORRECTION = "e_score_correction_bias"


class ExpertList:
    """A block with a list of experts, of which a softmax over the router's outputs chooses `chosen` for each token."""

    def __init__(self, block: nn.Module, router: nn.Linear, chosen: int) -> None:
        self._experts = cast("nn.ModuleList", block.experts)
        self._router = router
        self._chosen = chosen
        self.experts = len(self._experts)

    def contributions(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], padding: Padding
    ) -> Iterator[tuple[int, Tensor]]:
        """Return an expert's number, and for each token that is routed to it its gate times the norm of its output.

        Shape: to (tokens,), in fp64.
        """
        inputs: Tensor = args[0] if args else next(iter(kwargs.values()))
        rows = padding.real_rows(inputs)
        values, chosen = self._router(rows).double().topk(self._chosen, dim=-1)
        gates = values.softmax(-1)  # of the chosen alone: those of all, scaled to a sum of 1
        for number, expert in enumerate(self._experts):
            is_chosen = chosen.eq(number)
            own = is_chosen.any(1)
            if own.any():
                yield number, expert(rows[own]).norm(dim=-1).double() * gates.where(is_chosen, 0.0).sum(1)[own]


def expert_list_of(module: nn.Module) -> ExpertList | str | None:
    """Return a block's list of experts; why it is not measured; None if this is not such a block."""
    experts = getattr(module, "experts", None)
    if not isinstance(experts, nn.ModuleList) or len(experts) < 2:
        return None
    router = next((found for name in _ROUTERS if isinstance(found := getattr(module, name, None), nn.Linear)), None)
    if router is None or router.out_features != len(experts):
        return f"the router of a {type(module).__name__} is not a Linear with an output for each expert"
    if getattr(module, _CORRECTION, getattr(router, _CORRECTION, None)) is not None:
        return f"the router of a {type(module).__name__} chooses by other numbers than its outputs ({_CORRECTION})"
    chosen = next((found for name in _CHOSEN if isinstance(found := getattr(module, name, None), int)), None)
    if chosen is None:
        return f"a {type(module).__name__} does not say how many experts a token takes ({', '.join(_CHOSEN)})"
    return ExpertList(module, router, chosen)
