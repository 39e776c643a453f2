"""Distributions of |w| as bars: one for each power of two, the same for all tensors, so that rows can be compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pruning_client.models.magnitudes_value import Magnitudes

_BARS: Final = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS: Final = 16
"""Powers of two that are shown: what is smaller is in the first bar."""


class Bars:
    """The bars of several distributions over one range: their largest powers of two. Zeros are in no bar."""

    def __init__(self, distributions: Sequence["Magnitudes | None"]) -> None:
        powers = [power for each in distributions if each is not None for power in each.octaves]
        self._last = max(powers, default=0)
        self._first = max(min(powers, default=0), self._last - _MOST_COLUMNS + 1)

    @property
    def note(self) -> str:
        """What a row of bars shows."""
        return f"|w| from 2^{self._first} to 2^{self._last + 1}, a bar for each factor of 2"

    def of(self, distribution: "Magnitudes | None") -> str:
        """Return the bars of a tensor; - if it has no floating point numbers that are not zero."""
        if distribution is None or not distribution.octaves:
            return "-"
        counts = [0] * (self._last - self._first + 1)
        for power, count in distribution.octaves.items():
            counts[max(power, self._first) - self._first] += count
        highest = max(counts)
        return "".join(_BARS[-(-count * len(_BARS) // highest) - 1] if count else " " for count in counts)
