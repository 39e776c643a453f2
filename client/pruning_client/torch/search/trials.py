"""Pruning a model to look at it: each trial begins with the original weights, and at the end they are back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pruning_client.calls.request import Rules
from pruning_client.results.report import Report
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.procedures import Procedure, PruneRequest

Evaluate: TypeAlias = Callable[[Any], float]
"""Returns how good a model is."""


class Trials:
    """A model, and the original of each tensor that a trial has changed."""

    def __init__(self, model: nn.Module, statistics: Statistics | str | PathLike[str] | None) -> None:
        self._model = model
        self._statistics = statistics
        self._originals: dict[str, Tensor] = {}

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Restore the model's original weights at the end, after an error too."""
        try:
            yield
        finally:
            self._load(self._originals)

    def prune(self, rules: Rules) -> Procedure[Report]:
        """Load what the rules make of the original weights."""
        result = yield PruneRequest(self._model.state_dict() | self._originals, rules, self._statistics)
        current = self._model.state_dict()
        tensors = {name: tensor for name, tensor in result.to_torch().items() if name in current}
        for name, tensor in tensors.items():
            if name not in self._originals and not torch.equal(current[name].cpu(), tensor):
                self._originals[name] = current[name].clone()
        self._load({name: tensors[name] for name in self._originals})
        return result.report

    @torch.no_grad()
    def _load(self, tensors: dict[str, Tensor]) -> None:
        current = self._model.state_dict()
        for name, tensor in tensors.items():
            current[name].copy_(tensor)
