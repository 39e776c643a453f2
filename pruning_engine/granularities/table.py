"""The table of all granularities. To add one, write its class in a file of its own and add the class here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pruning_engine.granularities.channels import Channels
from pruning_engine.granularities.entries import Entries
from pruning_engine.granularities.entry_blocks import Blocks
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.granularities.units import Units

GRANULARITIES: Final[Mapping[str, type[Granularity]]] = MappingProxyType(
    {granularity.field: granularity for granularity in (Entries, Channels, Units, NOfM, Blocks)}
)
"""Every granularity, by its name on the wire."""
