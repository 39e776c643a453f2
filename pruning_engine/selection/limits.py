"""How a total is shared out among tensors that compete, when each has limits of its own.

Where the least important entries of all tensors are pruned together, each tensor loses those below one cut. With
limits the cut is such that the shares, each moved to its limits, make up the total: the choice of least importance
among those within the limits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Compete: TypeAlias = Callable[[Sequence[int], int], Sequence[int]]
"""How many of a total each of some tensors loses, if these compete without limits. Tensors are given by their index."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The least and the most that one tensor can lose."""

    least: int
    most: int


class ImpossibleTotalError(Exception):
    """The limits of all tensors together do not allow the total: only `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)
        self.least = least
        self.most = most


def share_within_limits(total: int, limits: Sequence[Limits], compete: Compete) -> list[int]:
    """Return how much of `total` each tensor loses.

    Tensors whose share is beyond a limit get the limit, first on the side that has the larger excess; the others
    compete for the rest, until all are within theirs. Each turn fixes a tensor, so that there are at most as many turns
    as tensors.

    Raises: ImpossibleTotalError.
    """
    least, most = sum(limit.least for limit in limits), sum(limit.most for limit in limits)
    if not least <= total <= most:
        raise ImpossibleTotalError(least, most)
    shares, free = [0] * len(limits), list(range(len(limits)))
    while free:
        found = dict(zip(free, compete(free, total), strict=True))
        above = {index: limits[index].most for index in free if found[index] > limits[index].most}
        below = {index: limits[index].least for index in free if found[index] < limits[index].least}
        excess = sum(found[index] - most for index, most in above.items())
        lack = sum(least - found[index] for index, least in below.items())
        if not above and not below:
            return [found.get(index, share) for index, share in enumerate(shares)]
        fixed = (above if excess >= lack else {}) | (below if lack >= excess else {})
        for index, share in fixed.items():
            shares[index] = share
        free = [index for index in free if index not in fixed]
        total -= sum(fixed.values())
    return shares
