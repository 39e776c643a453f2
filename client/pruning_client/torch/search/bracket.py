"""The search for the largest amount whose loss is within a limit, in few evaluations. Knows no model.

Between the largest amount that is within and the smallest above it that is not, the next one is interpolated on the
logarithm of the loss, which grows about exponentially with sparsity, and never close to either end. The loss need not
be monotone: what is returned was evaluated.
"""

import math
from collections.abc import Generator, Mapping
from typing import Final, TypeAlias

_MARGIN: Final = 0.15
"""The least distance of an interpolated amount from the ends, as a part of what is between them."""

_LEAST: Final = 1e-3
"""Losses below this part of the limit count as that much: their logarithm has no meaning."""

Search: TypeAlias = Generator[float, float, float]
"""Yields amounts, is sent their losses, and returns the largest that is within."""


def largest_within(
    limit: float, highest: float, tolerance: float, most: int, known: Mapping[float, float] | None = None
) -> Search:
    """Search up to `highest`, with at most `most` evaluations; `known` are losses by amount, of 0 at least."""
    losses = {0.0: 0.0} if known is None else dict(known)
    if highest not in losses:
        losses[highest] = yield highest
        most -= 1
    for _ in range(most):
        low, high = _ends(losses, limit)
        if high - low <= tolerance:
            break
        amount = _between(low, losses[low], high, losses[high], limit)
        losses[amount] = yield amount
    return _ends(losses, limit)[0]


def _ends(losses: Mapping[float, float], limit: float) -> tuple[float, float]:
    """Return the largest amount within the limit, and the next one that is not; twice the former if there is none."""
    low = max(amount for amount, loss in losses.items() if loss <= limit)
    return low, min((amount for amount, loss in losses.items() if amount > low and loss > limit), default=low)


def _between(low: float, low_loss: float, high: float, high_loss: float, limit: float) -> float:
    width = high - low
    if low == 0.0 or limit <= 0.0 or not math.isfinite(high_loss):
        return low + width / 2
    ends = [math.log(max(loss / limit, _LEAST)) for loss in (low_loss, high_loss)]
    part = -ends[0] / (ends[1] - ends[0])
    return low + width * min(max(part, _MARGIN), 1 - _MARGIN)
