"""The exact k least important entries of one tensor or many: the ones that are pruned.

Nothing is sorted and nothing concatenated. A random sample says between which two keys the cut must be, almost
surely, and so closely that hardly any entry is between them. One pass then writes the mask's bits for the lower key,
counts, and collects what is between; the few collected entries are settled exactly. If the sample misled, the pass
has at least narrowed the range, and the next one starts from there: chance decides how long it takes (a second pass
in about a million), never what is pruned.

Where many entries are equal the bracket becomes a single key, and the entries that have it are counted instead of
collected, so that the time does not depend on the data. Positions are drawn from the operating system's entropy:
nobody can prepare a tensor that misleads them.

Equal entries at the cut are pruned in order: first tensor first, then by flat index.

Source: Floyd, Rivest, "Expected time bounds for selection", CACM 18(3), 1975: the two-sided bracket from a sample of
about n^(2/3). Ours differs in counting and packing instead of moving entries, and in treating keys of
many entries apart.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Candidates, Integers, Split
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.runtime.yield_points import with_yields, yield_now
from pruning_engine.selection.bracket import Bracket


class NanKeyError(Exception):
    """A tensor has NaN among its candidates; `index` is its place among the tensors."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a sample is drawn. Changes the time a selection takes, never its result.

    Up to `whole` entries all are sampled. `density`: the sample has this many times n^(2/3) entries, and not many more
    than `most_sampled`. `deviations`: half the bracket's width, in standard deviations of the rank that a sample
    estimates. `most_collected`: keys that are kept of what is in the bracket where tensors are not held.
    """

    whole: int = 1 << 13
    density: float = 4.0
    deviations: float = 5.0
    most_sampled: int = 1 << 24
    most_collected: int = 1 << 25

    def stride(self, entries: int) -> int:
        """Return of how many entries one is sampled."""
        if entries <= self.whole:
            return 1
        return max(1, int(float(entries) ** (1 / 3) / self.density), entries // self.most_sampled)


TUNING: Final = Tuning()


_TENSORS: Final = 1 << 10
"""Tensors that are prepared between two yield points."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Which entries are kept, a mask for each tensor, and the largest key that was pruned (None if none was)."""

    kept: list[PackedMask]
    largest_pruned: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One piece of one tensor's candidates, and the mask that it writes to. `index`: the tensor's place."""

    index: int
    candidates: Candidates
    piece: tuple[int, int]
    kept: PackedMask


def sample_stride(entries: int) -> int:
    """Return of how many of all entries one is sampled."""
    return TUNING.stride(entries)


def draw_sample(candidates: Candidates, stride: int, seed: int | None = None) -> Integers:
    """Return the keys of about one in `stride` candidates: runs drawn at random from even strata.

    `seed`: of 64 bits, for the same runs every time; None: nobody can foresee them. There are none of keys that are
    random themselves: where their cut must be is known.
    """
    if candidates.is_uniform:
        return np.empty(0, np.uint64)
    if stride == 1:
        return candidates.everything()
    return candidates.sample(stride, int.from_bytes(os.urandom(8)) if seed is None else seed)


def select(
    tensors: Sequence[Candidates],
    count: int,
    *,
    samples: Sequence[Integers] | None = None,
    tuning: Tuning | None = None,
) -> Selected:
    """Prune the `count` least of all candidates; among equals the first ones.

    `samples`, one for each tensor, may have been drawn before, all with the stride of their sum. `tuning`: other than
    `TUNING`, which only tests need.
    Raises: NanKeyError if a candidate is NaN; ValueError if `count` is more than there are candidates.
    """
    tuning = TUNING if tuning is None else tuning
    unpruned = sum(candidates.unpruned for candidates in tensors)
    if not 0 <= count <= unpruned:
        raise ValueError(f"cannot prune {count} of {unpruned} entries")
    yield_now()
    if len(tensors) == 1 and samples is None and 0 < count < unpruned:
        alone = tensors[0].least(count, tuning.stride(tensors[0].entries))
        if alone is not None:
            if alone.has_nan:
                raise NanKeyError(0)
            return Selected([alone.kept], alone.largest_pruned)
    kept = [candidates.blank() for candidates in with_yields(tensors, _TENSORS)]
    jobs = [
        _Job(index, candidates, piece, mask)
        for index, (candidates, mask) in enumerate(with_yields(zip(tensors, kept, strict=True), _TENSORS))
        for piece in candidates.pieces()
    ]
    if count in (0, unpruned):
        return _all_or_none(jobs, kept, prunes_all=count > 0)
    if samples is None:
        stride = tuning.stride(sum(candidates.entries for candidates in tensors))
        samples = [draw_sample(candidates, stride) for candidates in tensors]
    # In short steps, since numpy keeps the interpreter to itself meanwhile: there may be 100,000 tensors.
    sample = np.concatenate([np.concatenate(samples[at : at + 1024]) for at in range(0, len(samples), 1024)])
    highest = max(candidates.highest for candidates in tensors)
    is_uniform = all(candidates.is_uniform for candidates in tensors)
    bracket = Bracket(sample, unpruned, highest, tuning.deviations, is_uniform=is_uniform)
    while True:
        low, high = bracket.guess(count)
        yield_now()
        splits = in_parallel(lambda job: _split(job, low, high), jobs)  # noqa: B023 - called within this turn
        below = unpruned - sum(split.kept for split in splits)
        inside = sum(split.inside for split in splits)
        if below < count <= below + inside:
            yield_now()
            largest_pruned = _settle(jobs, splits, low, count - below)
            clear_in_steps(jobs, splits)
            return Selected(kept, largest_pruned)
        bracket.narrow(count, below, inside)


def _split(job: _Job, low: int, high: int) -> Split:
    split = job.candidates.split(job.piece, low, high, job.kept)
    if split.has_nan:
        raise NanKeyError(job.index)
    return split


def _all_or_none(jobs: Sequence[_Job], kept: list[PackedMask], *, prunes_all: bool) -> Selected:
    """Prune all candidates or none; NaN must still be found, and the largest key that is pruned."""
    largest = in_parallel(lambda job: job.candidates.largest(job.piece), jobs)
    for job, key in zip(jobs, largest, strict=True):
        if job.candidates.is_nan(key):
            raise NanKeyError(job.index)
    if prunes_all:
        for mask in kept:
            mask.clear_()
        return Selected(kept, max(largest, default=None))
    in_parallel(lambda job: job.candidates.split(job.piece, 0, 0, job.kept), jobs)
    return Selected(kept, None)


def _settle(jobs: Sequence[_Job], splits: Sequence[Split], low: int, to_prune: int) -> int:
    """Prune the `to_prune` least entries of the bracket; return the largest key that was pruned."""
    if any(split.keys is not None for split in splits):
        return _settle_collected(jobs, splits, to_prune)
    shares = quotas([split.inside for split in splits], to_prune)
    pairs = [(job, quota) for job, quota in zip(jobs, shares, strict=True) if quota]
    in_parallel(lambda pair: pair[0].candidates.drop_equal(pair[0].piece, low, pair[1], pair[0].kept), pairs)
    return low


def _settle_collected(jobs: Sequence[_Job], splits: Sequence[Split], to_prune: int) -> int:
    keys = np.concatenate([split.keys for split in splits if split.keys is not None])
    cut, equal_before = jobs[0].candidates.nth_least(keys, to_prune - 1)
    quota = equal_before + 1
    for job, split in with_yields(zip(jobs, splits, strict=True), _TENSORS):
        quota -= job.candidates.drop(job.piece[0], split, cut, quota, job.kept)
    return cut


def quotas(available: Sequence[int], total: int) -> list[int]:
    """Return `total` shared out in order, each share at most what is available."""
    shares = []
    for count in available:
        shares.append(min(count, total))
        total -= shares[-1]
    return shares
