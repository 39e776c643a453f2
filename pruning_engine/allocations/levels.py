"""Densities that rise together, each between two limits, until they make up a total."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The density of one tensor at a level: `offset` + `slope` * level, between `least` and `most`.

    `entries`: what a density of 1 counts for. `slope` is above 0.
    """

    entries: int
    offset: float
    slope: float
    least: float
    most: float


def densities_at_total(lines: Sequence[Line], density: float) -> list[float]:
    """Return the densities at the level where together they keep `density` of all entries.

    Where the limits do not allow that, all densities are at their limits on the nearer side. The level is exact: the
    total is linear between two neighbouring points where a density reaches a limit.
    """
    entries = np.array([line.entries for line in lines], np.float64)
    offset, slope = np.array([line.offset for line in lines]), np.array([line.slope for line in lines])
    least, most = np.array([line.least for line in lines]), np.array([line.most for line in lines])

    def at(level: float) -> _Floats:
        densities: _Floats = np.clip(offset + slope * level, least, most)
        return densities

    wanted = density * entries.sum()
    points = np.unique(np.concatenate([(least - offset) / slope, (most - offset) / slope]))
    low, high = 0, len(points) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if entries @ at(points[middle]) <= wanted else (low, middle)
    begin, end = at(points[low]), at(points[high])
    kept_at_begin, kept_at_end = float(entries @ begin), float(entries @ end)
    part = (wanted - kept_at_begin) / (kept_at_end - kept_at_begin) if kept_at_end > kept_at_begin else 0.0
    found: list[float] = (begin + min(max(part, 0.0), 1.0) * (end - begin)).tolist()
    return found
