"""Fused experts of transformers 5: all experts of a layer in one module, their weights stacked along dim 0.

Their forward computes the inputs of `down_proj` inside, in one of several ways (eager, grouped, batched). Here these
are computed once more from the same inputs, one expert at a time, with the module's own gate.
"""

import inspect
from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from pruning_client.torch.collection.padding import Padding

_SORTED: Final = "Llama4TextExperts"
"""Takes the inputs of all experts one after the other, zeros for tokens that are not routed to one."""


class ExpertRows:
    """The rows that each expert sees: of the first projection, and of `down_proj`.

    `first` is the name of the first projection's parameter; `input_dim` the dim of both that has the input channels.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._is_sorted = type(module).__name__ == _SORTED
        self._is_transposed = self._is_sorted or bool(module.is_transposed)
        self.first = "gate_up_proj" if _is_stack(module, "gate_up_proj") else "up_proj"
        self.input_dim = 1 if self._is_transposed else 2
        self._weight = cast("Tensor", getattr(module, self.first))
        self.experts = len(self._weight)
        self.channels = self._weight.shape[self.input_dim]
        self.hidden_channels = cast("Tensor", module.down_proj).shape[self.input_dim]

    def each(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], padding: Padding
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Return an expert's number, the rows of its first projection, and those of `down_proj`, for each it has."""
        for expert, rows, _ in self._routed(args, kwargs, padding):
            if len(rows):
                yield expert, rows, self._hidden(expert, rows)

    def contributions(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], padding: Padding
    ) -> Iterator[tuple[int, Tensor]]:
        """Return an expert's number, and for each token that is routed to it the norm of what it adds to the output.

        The norm of the expert's output is multiplied by the token's gate, of those that add up to 1 for each token.
        Shape: to (tokens,), in fp64.
        """
        for expert, rows, gates in self._routed(args, kwargs, padding):
            if len(rows):
                yield expert, self._output(expert, self._hidden(expert, rows)).norm(dim=-1).double() * gates

    def _routed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], padding: Padding
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Return an expert's number, its rows, and the gate of each; of rows that are multiplied by it already, 1."""
        given = list(inspect.signature(self._module.forward).bind(*args, **kwargs).arguments.values())
        if self._is_sorted:
            stack = given[0].reshape(self.experts, -1, self.channels)
            real = padding.real_tokens(stack.shape[1])
            for expert, rows in enumerate(stack):
                own = rows if real is None else rows[real.to(rows.device)]
                routed = own[own.ne(0).any(1)]
                yield expert, routed, routed.new_ones(len(routed), dtype=torch.float64)
            return
        tokens, chosen = given[0].reshape(-1, self.channels), given[1]
        chosen = chosen.reshape(-1, chosen.shape[-1])
        gates = _gates(given[2], chosen)
        real = padding.real_tokens(len(tokens))
        for expert in range(self.experts):
            is_chosen = chosen.eq(expert)
            is_routed = is_chosen.any(1)
            own = is_routed if real is None else is_routed & real.to(is_routed.device)
            yield expert, tokens[own], gates.where(is_chosen, 0.0).sum(1)[own]

    def _output(self, expert: int, hidden: Tensor) -> Tensor:
        weight = cast("Tensor", self._module.down_proj)[expert]
        found = hidden @ weight if self._is_transposed else F.linear(hidden, weight)
        bias = getattr(self._module, "down_proj_bias", None)
        return found if bias is None else found + bias[expert]

    def _hidden(self, expert: int, rows: Tensor) -> Tensor:
        weight = self._weight[expert]
        found = rows @ weight if self._is_transposed else F.linear(rows, weight)
        bias = getattr(self._module, f"{self.first}_bias", None)
        if bias is not None:
            found = found + bias[expert]
        module = cast("Any", self._module)
        if self.first == "up_proj":
            hidden = module.act_fn(found)
        elif self._is_sorted:
            gate, up = found.chunk(2, dim=-1)
            hidden = up * module.act_fn(gate)
        else:
            hidden = module._apply_gate(found)
        return cast("Tensor", hidden)


def experts_of(module: nn.Module) -> ExpertRows | str | None:
    """Return the rows of fused experts; why they are not counted; None if this is not such a module."""
    has_first = _is_stack(module, "gate_up_proj") or _is_stack(module, "up_proj")
    if not has_first or not _is_stack(module, "down_proj"):
        return None
    if hasattr(module, "is_transposed") or type(module).__name__ == _SORTED:
        return ExpertRows(module)
    return f"inputs of the experts {type(module).__name__} are not counted: their layout is not known"


def _gates(weights: Tensor, chosen: Tensor) -> Tensor:
    """Return the weights of the chosen experts, of a sum of 1 for each token. Shape: (tokens, chosen), in fp64."""
    each = weights.reshape(len(chosen), -1).double()
    if each.shape != chosen.shape:  # one for each expert
        each = each.gather(1, chosen)
    total = each.sum(1, keepdim=True)
    return each / total.where(total != 0, 1.0)


def _is_stack(module: nn.Module, name: str) -> bool:
    value = getattr(module, name, None)
    return isinstance(value, nn.Parameter) and value.dim() == 3
