"""What a server holds over time: its heap, its threads and its descriptors, and how fast the heap grows."""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from pruning_proto.limits import MIB
from tests.campaigns.observed import anonymous_bytes, descriptors, threads
from tests.servers import ServerProcess

SAMPLE_SECONDS: Final = 1.0
BLOCKS: Final = 12
WARM_PART: Final = 0.25
"""Of the time: until then threads begin and allocators grow to what the mix takes at most."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth in MiB per hour, and its standard error."""

    mib_per_hour: float
    error: float

    @property
    def is_zero(self) -> bool:
        """Whether it may be zero: within two standard errors."""
        return self.mib_per_hour <= 2 * self.error

    def __str__(self) -> str:
        return f"{self.mib_per_hour:+.1f} ± {self.error:.1f} MiB/h"


@dataclass(slots=True)
class Curve:
    """The heap at points of time: seconds since the begin, bytes."""

    seconds: list[float] = field(default_factory=list)
    heap_bytes: list[int] = field(default_factory=list)

    def blocks(self, left_out: float = 0.0) -> list[tuple[float, float]]:
        """Return the means of twelfths, in hours and MiB, without a part at the begin; none of too few points."""
        points = list(zip(self.seconds, self.heap_bytes, strict=True))
        points = [point for point in points if point[0] >= left_out * self.seconds[-1]]
        if len(points) < 2 * BLOCKS:
            return []
        blocks = [points[len(points) * n // BLOCKS : len(points) * (n + 1) // BLOCKS] for n in range(BLOCKS)]
        return [
            (
                statistics.fmean(second for second, _ in block) / 3600,
                statistics.fmean(size for _, size in block) / MIB,
            )
            for block in blocks
        ]

    def slope(self) -> Slope | None:
        """Return the growth after the warm part, fitted by least squares to means of blocks; None of too few points.

        Neighbouring samples are alike, since they see the same calls; means of blocks are nearly independent, so that
        the residuals about the line give an honest standard error.
        """
        blocks = self.blocks(WARM_PART)
        if not blocks:
            return None
        hours, heaps = zip(*blocks, strict=True)
        line = statistics.linear_regression(hours, heaps)
        residual = sum((y - line.intercept - line.slope * x) ** 2 for x, y in zip(hours, heaps, strict=True))
        spread = sum((x - statistics.fmean(hours)) ** 2 for x in hours)
        return Slope(line.slope, (residual / (BLOCKS - 2) / spread) ** 0.5)


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds at rest."""

    heap_bytes: int
    threads: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.heap_bytes / MIB:.0f} MiB, {self.threads} threads, {self.descriptors} descriptors"


def held(server: ServerProcess) -> Held:
    """Return what a server holds now."""
    process = server.process.pid
    return Held(anonymous_bytes(process), threads(process), descriptors(process))


@contextmanager
def curve_of(server: ServerProcess) -> Iterator[Curve]:
    """Note a server's heap once a second while inside."""
    curve, over, begin = Curve(), threading.Event(), time.monotonic()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            with suppress(OSError):
                curve.heap_bytes.append(anonymous_bytes(server.process.pid))
                curve.seconds.append(time.monotonic() - begin)

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        yield curve
    finally:
        over.set()
        sampling.join()


def quantile(seconds: Sequence[float], part: float) -> float:
    """Return the value below which a part of the values are."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
