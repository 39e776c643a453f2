"""What the weights of a model are multiplied by, observed inside torch: a reference for collected statistics."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.overrides import TorchFunctionMode

_MULTIPLIED = {F.linear: 0, torch.addmm: 1, torch.Tensor.__matmul__: 0, torch.Tensor.matmul: 0, torch.bmm: 0}
"""Where an input is among the arguments of a function; the weight comes next."""


class Captured(TorchFunctionMode):
    """While entered, keeps the inputs of each weight, in fp64. `rows` is by name, and the expert of a stack."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._weights = {parameter.data_ptr(): (name, parameter) for name, parameter in model.named_parameters()}
        self._found: dict[tuple[str, int], list[Tensor]] = defaultdict(list)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        position = _MULTIPLIED.get(func)
        if position is not None:
            self._keep(args[position].detach().double(), args[position + 1])
        return func(*args, **(kwargs or {}))

    def _keep(self, inputs: Tensor, weight: Tensor) -> None:
        for pointer, (name, parameter) in self._weights.items():
            offset = (weight.data_ptr() - pointer) // weight.element_size()
            if 0 <= offset < parameter.numel():
                for expert, rows in enumerate(inputs if weight.dim() == 3 else [inputs]):
                    number = expert if weight.dim() == 3 else offset * len(parameter) // parameter.numel()
                    self._found[name, number].append(rows.reshape(-1, rows.shape[-1]))

    @property
    def rows(self) -> dict[tuple[str, int], Tensor]:
        return {key: torch.cat(rows) for key, rows in self._found.items()}


def captured(model: nn.Module, batch: dict[str, Tensor]) -> dict[tuple[str, int], Tensor]:
    """Return the rows that each weight of a model is multiplied by, or each expert of it."""
    if hasattr(model, "config"):
        model.config._experts_implementation = "eager"  # type: ignore[union-attr]  # one multiplication an expert
    found = Captured(model)
    with torch.no_grad(), found:
        model(**batch)
    return found.rows
