"""The table of all updates. To add one, write its class in a file of its own and add the class here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pruning_engine.updates.bias_compensation import BiasCompensation
from pruning_engine.updates.refit import Refit
from pruning_engine.updates.sparsegpt import SparseGpt
from pruning_engine.updates.update import Update

UPDATES: Final[Mapping[str, type[Update]]] = MappingProxyType(
    {update.field: update for update in (BiasCompensation, Refit, SparseGpt)}
)
"""Every update, by its name on the wire."""
