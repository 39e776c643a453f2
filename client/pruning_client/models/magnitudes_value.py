"""How the |w| of a tensor are distributed: a frozen value, which needs no numpy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Counts of |w| in bins: bin i is from edges[i] to edges[i + 1], ascending; empty bins at both ends are left out.

    `zeros` and `non_finite` (NaN, infinity) are in no bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int
    non_finite: int

    @property
    def octaves(self) -> Mapping[int, int]:
        """The count of each power of two k, of entries from 2^k to 2^(k + 1), where there are any."""
        found: dict[int, int] = {}
        for edge, count in zip(self.edges, self.counts, strict=False):
            if count:
                power = math.frexp(edge)[1] - 1
                found[power] = found.get(power, 0) + count
        return found
