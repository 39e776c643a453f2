"""The exact k least important entries: which ones fall, among one tensor or many.

Nothing is sorted and nothing concatenated. A random sample tells between which two keys the cut must lie, almost
surely, and so closely that hardly any entry is between them. One pass then writes the mask's bits for the lower key,
counts, and collects what lies between; the few collected entries are settled exactly. If the sample misled, the pass
has at least narrowed the range, and the next one starts from there: chance decides how long it takes (a second pass
in about a million), never what falls.

Where many entries are equal the bracket becomes a single key, and the entries that have it are counted instead of
collected, so that time does not hang on the data. Positions are drawn from the operating system's entropy: nobody
can prepare a tensor that misleads them.

SharedTensors at the cut fall in order: first tensor first, then by flat index.

Source: Floyd, Rivest, "Expected time bounds for selection", CACM 18(3), 1975: the two-sided bracket from a sample of
about n^(2/3). Ours differs in counting and packing instead of moving entries, and in treating heavy ties apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.random import default_rng

from pruning_engine.kernels.backend import RUN_ENTRIES, Bits, Candidates, Integers, Split
from pruning_engine.runtime.emptying import empty
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.runtime.yield_points import with_yields, yield_now


class NanKeyError(Exception):
    """A contender has NaN among its alive entries."""

    def __init__(self, contender: Candidates) -> None:
        super().__init__()
        self.contender = contender


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a sample is drawn. Changes the time a selection takes, never its result.

    Up to `whole` entries are sampled one and all. `density`: the sample has so many times n^(2/3) entries.
    `deviations`: half the bracket's width, in standard deviations of the rank that a sample estimates.
    """

    whole: int = 1 << 13
    density: float = 4.0
    deviations: float = 5.0

    def stride(self, entries: int) -> int:
        """Give of how many entries one is sampled."""
        if entries <= self.whole:
            return 1
        return max(1, int(float(entries) ** (1 / 3) / self.density))


DEFAULT: Final = Tuning()

_ENTROPY: Final = default_rng()
"""Seeded by the operating system; locks itself, so that threads may share it."""

_THINNING: Final = 33
"""Every so-manieth key of a sample is looked at first. Prime to the entries of a run."""

_THINNED_DEVIATIONS: Final = 4.0

_CONTENDERS: Final = 1 << 10
"""Contenders that are prepared between two pauses."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Which entries are kept, a mask for each contender, and the largest key that fell (None if nothing did)."""

    kept: list[Bits]
    largest_fallen: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One piece of one contender, and the mask that it writes to."""

    contender: Candidates
    piece: tuple[int, int]
    kept: Bits


@dataclass(frozen=True, slots=True)
class _Range:
    """What is known of the cut: it is `low` to `high`; so many alive entries are below `low`, or at most `high`."""

    low: int
    high: int
    below: int
    through: int


def draw_sample(contender: Candidates, stride: int) -> Integers:
    """Give the keys of about one in `stride` of a contender's alive entries: runs drawn at random from even strata."""
    if stride == 1:
        return contender.everything()
    runs = contender.size // RUN_ENTRIES
    starts = np.arange(0, runs, stride, dtype=np.int64)
    starts += _ENTROPY.integers(0, stride, len(starts))
    return contender.sample(starts[starts < runs])


def select(
    contenders: Sequence[Candidates], count: int, *, samples: Sequence[Integers] | None = None, tuning: Tuning = DEFAULT
) -> Selected:
    """Let the `count` least of all alive entries fall; among equals the first ones.

    `samples`, one for each contender, may have been drawn before, all with the stride of their sum.
    Raises: NanKeyError if an alive entry is NaN; ValueError if `count` is more than are alive.
    """
    alive = sum(contender.alive for contender in contenders)
    if not 0 <= count <= alive:
        raise ValueError(f"{count} of {alive} entries cannot fall")
    yield_now()
    kept = [contender.blank() for contender in with_yields(contenders, _CONTENDERS)]
    jobs = [
        _Job(contender, piece, mask)
        for contender, mask in with_yields(zip(contenders, kept, strict=True), _CONTENDERS)
        for piece in contender.pieces()
    ]
    if count in (0, alive):
        return _all_or_none(jobs, kept, fall=count > 0)
    highest = max(contender.highest for contender in contenders)
    if samples is None:
        stride = tuning.stride(sum(contender.size for contender in contenders))
        samples = [draw_sample(contender, stride) for contender in contenders]
    # In short steps, since numpy keeps the interpreter to itself meanwhile: there may be 100,000 contenders.
    sample = np.concatenate([np.concatenate(samples[at : at + 1024]) for at in range(0, len(samples), 1024)])
    found = _Range(0, highest, 0, alive)
    deviations = tuning.deviations
    while True:
        low, high = _bracket(sample, found, count, deviations)
        yield_now()
        splits = in_parallel(lambda job: _split(job, low, high), jobs)  # noqa: B023 - called within this turn
        below = alive - sum(split.kept for split in splits)
        inside = sum(split.inside for split in splits)
        if below < count <= below + inside:
            yield_now()
            largest_fallen = _settle(jobs, splits, low, count - below)
            empty(jobs, splits)
            return Selected(kept, largest_fallen)
        if count <= below:
            found = _Range(found.low, low - 1, found.below, below)
        else:
            found = _Range(high + 1, found.high, below + inside, found.through)
        deviations *= 2  # entries of a run may be alike, so that they tell less than they seem to


def _split(job: _Job, low: int, high: int) -> Split:
    split = job.contender.split(job.piece, low, high, job.kept)
    if split.has_nan:
        raise NanKeyError(job.contender)
    return split


def _all_or_none(jobs: Sequence[_Job], kept: list[Bits], *, fall: bool) -> Selected:
    """Nothing is to be decided, but NaN must still be found, and the largest that falls be told."""
    largest = in_parallel(lambda job: job.contender.largest(job.piece), jobs)
    for job, key in zip(jobs, largest, strict=True):
        if job.contender.is_nan(key):
            raise NanKeyError(job.contender)
    if fall:
        for mask in kept:
            mask.zero_()
        return Selected(kept, max(largest, default=None))
    in_parallel(lambda job: job.contender.split(job.piece, 0, 0, job.kept), jobs)
    return Selected(kept, None)


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
    return _without_ties(
        sample, low if first >= 0 else found.low, high if last < size else found.high, limit=int(2 * margin) + 1
    )


def _at_ranks(sample: Integers, first: int, last: int) -> tuple[int, int]:
    """Give the keys of two ranks of a sample. A sample of the sample tells where to look for them."""
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


def _without_ties(sample: Integers, low: int, high: int, limit: int) -> tuple[int, int]:
    """Take a key that a large part of the entries have off the bracket's ends; alone it makes a bracket."""
    if low == high:
        return low, high
    inner_low = low + int(np.count_nonzero(sample == sample.dtype.type(low)) > limit)
    inner_high = high - int(np.count_nonzero(sample == sample.dtype.type(high)) > limit)
    return (inner_low, inner_high) if inner_low <= inner_high else (low, low)


def _settle(jobs: Sequence[_Job], splits: Sequence[Split], low: int, falling: int) -> int:
    """Let the `falling` least entries of the bracket fall; give the largest key that did."""
    if any(split.keys is not None for split in splits):
        return _settle_collected(jobs, splits, falling)
    quotas = _quotas([split.inside for split in splits], falling)
    pairs = [(job, quota) for job, quota in zip(jobs, quotas, strict=True) if quota]
    in_parallel(lambda pair: pair[0].contender.drop_equal(pair[0].piece, low, pair[1], pair[0].kept), pairs)
    return low


def _settle_collected(jobs: Sequence[_Job], splits: Sequence[Split], falling: int) -> int:
    collected = [split.keys for split in splits if split.keys is not None]
    keys = np.concatenate(collected)
    cut = np.partition(keys, falling - 1)[falling - 1]
    less = int(np.count_nonzero(keys < cut))
    quotas = _quotas([int(np.count_nonzero(part == cut)) for part in collected], falling - less)
    in_parallel(lambda work: _drop_collected(*work, cut), list(zip(jobs, splits, quotas, strict=True)))
    return int(cut)


def _drop_collected(job: _Job, split: Split, quota: int, cut: np.unsignedinteger[Any]) -> None:
    """Let what a piece collected below the cut fall, and the first `quota` at it."""
    if split.keys is None or split.positions is None:
        return
    falls = split.keys < cut
    if quota:
        falls[np.flatnonzero(split.keys == cut)[:quota]] = True
    job.contender.drop(job.piece[0], split.positions[falls], job.kept)


def _quotas(available: Sequence[int], total: int) -> list[int]:
    """Share `total` out in order, each at most what is available."""
    quotas = []
    for count in available:
        quotas.append(min(count, total))
        total -= quotas[-1]
    return quotas
