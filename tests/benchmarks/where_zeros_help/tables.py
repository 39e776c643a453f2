"""Tables in Markdown, and the fastest of several runs that take turns."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_MOST_ROUNDS: Final = 200
_SECONDS: Final = 3.0
"""What the runs of one group may take together, but each runs three times."""


@dataclass(frozen=True)
class Table:
    """A table; of its columns the first is text, the others are numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        rule = ["---", *["--:"] * (len(self.heads) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.heads, rule, *self.rows))


def fastest(runs: Mapping[str, Callable[[], object]], seconds: float = _SECONDS) -> dict[str, float]:
    """Return the seconds of the fastest call of each. They take turns, in changing order: busy moments meet all."""
    for run in runs.values():
        run()
    best, order = dict.fromkeys(runs, float("inf")), deque(runs.items())
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or (rounds < _MOST_ROUNDS and time.perf_counter() < end):
        for name, run in order:
            best[name] = min(best[name], seconds_of(run))
        order.rotate()
        rounds += 1
    return best


def seconds_of(run: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def milliseconds(taken: float, dense: float) -> str:
    """Return a time, and how many times as fast as the dense one that is."""
    return f"{taken * 1e3:.1f} ms ({dense / taken:.2f}x)"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in percent."""
    return f"{part / whole:.1%}"
