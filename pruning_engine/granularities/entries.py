"""Single entries."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from pruning_engine.granularities.granularity import Granularity


@dataclass(frozen=True, slots=True)
class Entries(Granularity):
    """Single entries are pruned: torch's "unstructured"."""

    field: ClassVar[str] = "entries"
    takes_norm: ClassVar[bool] = False

    def pieces(self, shape: tuple[int, ...]) -> int:
        """Return the number of entries."""
        return prod(shape)
