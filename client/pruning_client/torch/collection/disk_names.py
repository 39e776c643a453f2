"""The names that a model's weights have in its files, those of stacked experts included."""

import sys
from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from pruning_client.frameworks.names_on_disk import names_on_disk
from pruning_proto.names import ORIG


class DiskNames:
    """Names on disk by the names in a model's state dict."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = names_on_disk(model)
        config = getattr(model, "config", None)
        self.model_type = str(getattr(config, "model_type", "") or "")

    def of(self, weight: str) -> str | None:
        """Return the name of a weight on disk; None if it is there in parts, or together with others."""
        if weight in self._names:
            return self._names[weight]
        pair = self._names.get(weight + ORIG, weight)
        return None if pair is None else pair.removesuffix(ORIG)

    def experts(self, weight: str, input_dim: int) -> Sequence[tuple[str, ...]] | None:
        """Return, for each expert of a stacked weight, the names on disk of the tensors that it is split into.

        None if it is one tensor on disk too, or if transformers cannot say.
        """
        revert = getattr(sys.modules.get("transformers.core_model_loading"), "revert_weight_conversion", None)
        if revert is None or self.of(weight) is not None:
            return None
        experts = len(self._model.get_parameter(weight))
        marked = _marked(experts, input_dim)
        try:
            parts: dict[str, Any] = revert(self._model, {weight: marked})
        except Exception:  # noqa: BLE001 - whatever a conversion of another library raises for a tensor of no weights
            return None
        numbers = {name: _number(part) for name, part in parts.items()}
        found = [tuple(name for name, number in numbers.items() if number == each) for each in range(experts)]
        return found if all(found) and None not in numbers.values() else None


def _marked(experts: int, input_dim: int) -> Tensor:
    """Return a small stack whose entries are the number of their expert, of sizes that differ from each other."""
    channels = next(size for size in count(1, 2) if size != experts)
    shape = (experts, 2, channels) if input_dim == 2 else (experts, channels, 2)
    return torch.arange(experts, dtype=torch.float32).view(-1, 1, 1).expand(shape).contiguous()


def _number(part: object) -> int | None:
    """Return the expert of a tensor of two dims that has the marks of one; None if it has those of several."""
    if not isinstance(part, Tensor) or part.dim() != 2 or part.numel() == 0 or part.min() != part.max():
        return None
    return int(part.max())
