"""Between which two keys the cut of a selection is, by a sample: Floyd and Rivest's two-sided bracket."""

from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Integers

_THINNING: Final = 33
"""One key in this many of a sample is looked at first. Prime to the entries of a run."""

_THINNED_DEVIATIONS: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Range:
    """What is known of the cut: it is `low` to `high`; `below` candidates are below `low`, `through` at most `high`."""

    low: int
    high: int
    below: int
    through: int


class Bracket:
    """Two keys, `low` and `high`, with the cut almost surely between them, by what a sample says of all candidates."""

    def __init__(
        self, sample: Integers, unpruned: int, highest: int, deviations: float, *, is_uniform: bool = False
    ) -> None:
        """`is_uniform`: any key up to `highest` is equally likely, and there is no sample."""
        self.low = self.high = 0
        self._known = _Range(0, highest, 0, unpruned)
        self._deviations = deviations
        self._guess = _expected_bracket if is_uniform else partial(_bracket, sample)

    def guess(self, count: int) -> tuple[int, int]:
        """Guess the keys that the `count`-th least key is between; return both."""
        self.low, self.high = self._guess(self._known, count, self._deviations)
        return self.low, self.high

    def set(self, low: int, high: int, below: int, inside: int) -> tuple[int, int]:
        """Learn where the cut is: `inside` candidates are from `low` to `high`, `below` are below. Return both keys."""
        self._known = _Range(low, high, below, below + inside)
        self.low, self.high = low, high
        return low, high

    def narrow(self, count: int, below: int, inside: int) -> None:
        """Learn from a wrong guess: `below` candidates were below the bracket, and `inside` in it."""
        known = self._known
        if count <= below:
            self._known = _Range(known.low, self.low - 1, known.below, below)
        else:
            self._known = _Range(self.high + 1, known.high, below + inside, known.through)
        self._deviations *= 2  # entries of a run may be alike, so that they say less than they seem to


def _bracket(sample: Integers, found: _Range, count: int, deviations: float) -> tuple[int, int]:
    """Guess two keys with the cut between them."""
    kind = sample.dtype.type
    if found.low > 0 or found.high < int(sample.max(initial=0)):
        sample = sample[(sample >= kind(found.low)) & (sample <= kind(found.high))]
    size, population = len(sample), found.through - found.below
    if not size:
        return found.low, found.high
    rank = count - found.below - 1
    if size == population:
        key = int(np.partition(sample, rank)[rank])
        return key, key
    part = rank / population
    margin = deviations * sqrt(part * (1 - part) * size) + 1
    first, last = int(part * size - margin), int(part * size + margin)
    low, high = _at_ranks(sample, max(first, 0), min(last, size - 1))
    return _without_crowded_ends(
        sample, low if first >= 0 else found.low, high if last < size else found.high, limit=int(2 * margin) + 1
    )


def _expected_bracket(found: _Range, count: int, deviations: float) -> tuple[int, int]:
    """Return two keys with the cut between them, if any key from `found.low` to `found.high` is equally likely."""
    population, width = found.through - found.below, found.high - found.low
    part = (count - found.below) / (population + 1)
    margin = (deviations * sqrt(part * (1 - part) / population) + 1 / population) * width
    middle = found.low + int(part * width)
    return max(middle - int(margin), found.low), min(middle + int(margin) + 1, found.high)


def _at_ranks(sample: Integers, first: int, last: int) -> tuple[int, int]:
    """Return the keys of two ranks of a sample. A sample of the sample says where to look for them."""
    few = sample[::_THINNING]
    margin = _THINNED_DEVIATIONS * sqrt(len(few)) / 2 + 1
    lower, upper = int(first / _THINNING - margin), int(last / _THINNING + margin)
    if lower >= 0 and upper < len(few):
        few = np.partition(few, [lower, upper])
        at_least = sample >= few[lower]
        near = sample[at_least & (sample <= few[upper])]
        below = len(sample) - int(np.count_nonzero(at_least))
        if below <= first and last < below + len(near):
            near.partition([first - below, last - below])
            return int(near[first - below]), int(near[last - below])
    whole = np.partition(sample, [first, last])
    return int(whole[first]), int(whole[last])


def _without_crowded_ends(sample: Integers, low: int, high: int, limit: int) -> tuple[int, int]:
    """Take a key that a large part of the entries have off the bracket's ends; alone it makes a bracket."""
    if low == high:
        return low, high
    inner_low = low + int(np.count_nonzero(sample == sample.dtype.type(low)) > limit)
    inner_high = high - int(np.count_nonzero(sample == sample.dtype.type(high)) > limit)
    return (inner_low, inner_high) if inner_low <= inner_high else (low, low)
