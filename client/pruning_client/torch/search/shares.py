"""How an amount is divided among groups of tensors, by what losing some of each alone did to the model.

For each group, the loss is taken as exp(a + b * amount) through two measurements. An amount of all weights is divided
so that one more weight of any group costs the same. These are guesses of where to look: each division that counts is
evaluated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_STEPS: Final = 60
_LEAST_SLOPE: Final = 0.1
_MOST: Final = 1e6
"""Of the least loss: larger ones, and those that are not numbers, count as that much."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The loss of pruning one group alone: exp(offset + slope * amount). `entries` are those of its tensors."""

    entries: int
    offset: float
    slope: float


def sensitivity(entries: int, measured: Sequence[tuple[float, float]], least: float) -> Sensitivity:
    """Return the sensitivity through two measurements, (amount, loss) each.

    Losses count as at least `least`, and at most `_MOST` times that.
    """
    (first, first_loss), (second, second_loss) = measured
    logs = [math.log(min(max(loss, least), _MOST * least)) for loss in (first_loss, second_loss)]
    slope = max((logs[1] - logs[0]) / (second - first), _LEAST_SLOPE)
    return Sensitivity(entries, logs[1] - slope * second, slope)


def shares(groups: Mapping[str, Sensitivity], amount: float, highest: float) -> dict[str, float]:
    """Return the amount of each group, at most `highest`, such that all together lose this amount."""
    total = sum(group.entries for group in groups.values())
    low, high = -1e4, 1e4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        pruned = sum(group.entries * _amount(group, middle, highest) for group in groups.values())
        low, high = (middle, high) if pruned < amount * total else (low, middle)
    return {name: _amount(group, high, highest) for name, group in groups.items()}


def _amount(group: Sensitivity, price: float, highest: float) -> float:
    """Return the amount at which one more weight costs exp(price)."""
    amount = (price + math.log(group.entries / group.slope) - group.offset) / group.slope
    return min(max(amount, 0.0), highest)
