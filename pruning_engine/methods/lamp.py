"""LAMP: how much each tensor loses, if weights of all tensors are compared by w^2 over the sum of the larger ones.

Source: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021, arXiv:2010.07611, equation 1:
score(u) = W[u]^2 / (sum of W[v]^2 over all v of the tensor with |W[v]| >= |W[u]|). Equal weights have equal scores.

The score grows with the magnitude within a tensor. So a tensor loses its smallest weights, and the scores only say how
many. They are found in two steps: a profile of each tensor, its sums of squares by ranges of keys, says between which
keys the cut is; the scores of the few weights there are then computed one by one. All sums are taken in the order of
the sorted weights, so that they are the same for any backend and any number of threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.magnitude_keys import highest_key, magnitudes_of

_Floats: TypeAlias = npt.NDArray[np.float64]
_Integers: TypeAlias = npt.NDArray[Any]

KeysBetween: TypeAlias = Callable[[int, int], _Integers]
"""The keys of one tensor from `low` to `high`, both included, in any order."""

_RANGE_BITS: Final = 16
"""The leading bits of a key that say in which range it is."""

MOST_RANGES: Final = 1 << _RANGE_BITS
"""Ranges of one profile at most."""

_MARGIN: Final = 1e-9
"""Relative: bounds of scores are widened by it, more than their rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The weights of one tensor by ranges of their keys, ascending; ranges without weights are left out.

    `first` and `last`: the keys where each range begins and ends. `above`: the sum of squares from each range on, of
    magnitudes times `scale`, a power of 2.
    """

    domain: str
    scale: float
    first: _Integers
    last: _Integers
    counts: _Integers
    above: _Floats

    @property
    def entries(self) -> int:
        """The number of weights."""
        return int(self.counts.sum())


def profile_of(keys: _Integers, domain: str) -> Profile:
    """Return the profile of a tensor's keys, none of them NaN; `keys` are sorted in place."""
    keys.sort()
    shift = max(0, highest_key(domain).bit_length() - _RANGE_BITS)
    numbers, begins, counts = np.unique(keys >> keys.dtype.type(shift), return_index=True, return_counts=True)
    largest = float(magnitudes_of(keys[-1:], domain)[0]) if len(keys) else 0.0
    scale = float(np.ldexp(1.0, -np.frexp(largest)[1])) if np.isfinite(largest) else 1.0
    sums = np.zeros(len(counts))
    for place, (begin, count) in enumerate(zip(begins.tolist(), counts.tolist(), strict=True)):
        sums[place] = _squares(keys[begin : begin + count], domain, scale).sum()
    first = numbers.astype(np.uint64) << np.uint64(shift)
    return Profile(
        domain, scale, first, first + np.uint64((1 << shift) - 1), counts, np.cumsum(sums[::-1])[::-1].copy()
    )


def shares(profiles: Sequence[Profile], keys_between: Sequence[KeysBetween], total: int) -> list[int]:
    """Return how many of the `total` weights of least score are in each tensor; of equal ones those of the first."""
    if total <= 0:
        return [0] * len(profiles)
    bounds = [_bounds(profile) for profile in profiles]
    counts = np.concatenate([profile.counts for profile in profiles])
    at_least = _cut(np.concatenate([low for low, _ in bounds]), counts, total)
    at_most = _cut(np.concatenate([high for _, high in bounds]), counts, total)
    certain, scores = [], []
    for profile, between, (low, high) in zip(profiles, keys_between, bounds, strict=True):
        open_ranges = np.flatnonzero((low <= at_most) & (high >= at_least))
        begin, end = (int(open_ranges[0]), int(open_ranges[-1]) + 1) if len(open_ranges) else (0, 0)
        if not len(open_ranges):
            begin = end = int(np.count_nonzero(high < at_least))
        certain.append(int(profile.counts[:begin].sum()))
        scores.append(_scores(profile, between, begin, end))
    return _with_least(certain, scores, total - sum(certain))


def _with_least(certain: Sequence[int], scores: Sequence[_Floats], missing: int) -> list[int]:
    """Add the `missing` least scores to what is certain."""
    if missing <= 0:
        return list(certain)
    cut = np.partition(np.concatenate(scores), missing - 1)[missing - 1]
    less = [int(np.count_nonzero(each < cut)) for each in scores]
    missing -= sum(less)
    found = []
    for known, below, each in zip(certain, less, scores, strict=True):
        equal = min(missing, int(np.count_nonzero(each == cut)))
        missing -= equal
        found.append(known + below + equal)
    return found


def _bounds(profile: Profile) -> tuple[_Floats, _Floats]:
    """Return two numbers for each range: no score in it is smaller, and none is larger."""
    low = _squares(profile.first, profile.domain, profile.scale)
    high = _squares(np.minimum(profile.last, np.uint64(highest_key(profile.domain))), profile.domain, profile.scale)
    after = np.append(profile.above[1:], 0.0)
    return _ratio(low, profile.above) * (1 - _MARGIN), _ratio(high, after + high) * (1 + _MARGIN)


def _cut(scores: _Floats, counts: _Integers, total: int) -> float:
    """Return the least score up to which there are `total` weights."""
    order = np.argsort(scores, kind="stable")
    place = int(np.searchsorted(np.cumsum(counts[order]), total))
    return float(scores[order[min(place, len(order) - 1)]])


def _scores(profile: Profile, keys_between: KeysBetween, begin: int, end: int) -> _Floats:
    """Return the scores of the weights of some ranges, ascending."""
    if begin == end:
        return np.empty(0)
    keys = keys_between(int(profile.first[begin]), int(profile.last[end - 1]))
    keys.sort()
    squares = _squares(keys, profile.domain, profile.scale)
    start = profile.above[end] if end < len(profile.above) else 0.0
    sums = np.cumsum(np.append(squares, start)[::-1])[:0:-1]
    first_of_equals = np.searchsorted(keys, keys, side="left")
    return _ratio(squares, sums[first_of_equals])


def _squares(keys: _Integers, domain: str, scale: float) -> _Floats:
    with np.errstate(all="ignore"):
        magnitudes = magnitudes_of(keys, domain) * scale
        squares: _Floats = magnitudes * magnitudes
    return squares


def _ratio(squares: _Floats, sums: _Floats) -> _Floats:
    """Return scores: 0 for zeros, 1 for an infinite weight."""
    with np.errstate(all="ignore"):
        return np.where(squares == 0, 0.0, np.where(np.isinf(squares), 1.0, squares / sums))
