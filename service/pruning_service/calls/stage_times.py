"""When the stages of a call ran, and for how long: seconds for its report, intervals for its trace."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

Interval: TypeAlias = tuple[int, int]
"""The beginning and the end. Units: nanoseconds since 1970."""

ADMISSION: Final = "admission"
"""The stage in which a call waits for memory of the budget. Reports do not have it."""


class StageTimes:
    """The stages of one call. They overlap, and each may run many times."""

    def __init__(self) -> None:
        self.intervals: dict[str, Interval] = {}
        """From the first beginning of each stage to its last end."""
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> Mapping[str, float]:
        """The time inside each stage."""
        return {stage: seconds for stage, seconds in self._seconds.items() if stage != ADMISSION}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        begin_ns, begin = time.time_ns(), time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self._seconds[name] += seconds
            first, _ = self.intervals.get(name, (begin_ns, 0))
            self.intervals[name] = first, begin_ns + int(seconds * 1e9)
