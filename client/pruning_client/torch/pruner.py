"""What prunes a state dict: the clients, as far as procedures that call them need."""

from typing import Protocol

from pruning_client.calls.request import Path, Rules
from pruning_client.checkpoints.state_dict import StateDict
from pruning_client.results.result import Result
from pruning_client.statistics.statistics import Statistics


class Pruner(Protocol):
    """Prunes a state dict: a `Client`."""

    def prune(self, source: StateDict, rules: Rules, *, statistics: Statistics | Path | None = None) -> Result:
        """Prune a state dict into memory."""


class AsyncPruner(Protocol):
    """Prunes a state dict, awaited: an `AsyncClient`."""

    async def prune(self, source: StateDict, rules: Rules, *, statistics: Statistics | Path | None = None) -> Result:
        """Prune a state dict into memory."""
