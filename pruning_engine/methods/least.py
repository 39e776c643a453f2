"""The entries of least score, of a matrix or of each of its rows, in numpy; the same as `Arrays` says for any library.

Large matrices are read in blocks of rows, with yields between them.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.runtime.yield_points import with_yields

Scores = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

BLOCK_ENTRIES: Final = 1 << 18
"""Entries that are looked at together: some milliseconds."""

_SAMPLE: Final = 1 << 14
"""Scores that are sorted to find two values that the cut almost surely lies between."""

_MARGIN: Final = 4
"""Standard deviations of the sample's ranks. Where the cut lies outside, all scores are looked at."""


def prune_least(scores: Scores, candidates: Flags, count: int) -> Flags:
    """Return `candidates` without the `count` of least score; of equal ones the first in flat order are pruned."""
    result: Flags = np.array(candidates, order="C")
    if count <= 0:
        return result
    flat, chosen = np.ascontiguousarray(scores).reshape(-1), result.reshape(-1)
    cut, quota = _cut(flat, chosen, count)
    for block in with_yields(_blocks(flat.size)):
        part, keep = flat[block], chosen[block]
        equal = np.flatnonzero((part == cut) & keep)[:quota]
        quota -= len(equal)
        keep &= part >= cut
        keep[equal] = False
    return result


def prune_least_in_rows(scores: Scores, candidates: Flags, counts: Counts) -> Flags:
    """Return `candidates` without the `counts[row]` of least score of each row, ties as in `prune_least`."""
    result = np.empty(scores.shape, np.bool_)
    step = max(1, BLOCK_ENTRIES // max(1, scores.shape[1]))
    blocks = (slice(begin, begin + step) for begin in range(0, len(scores), step))
    for rows in with_yields(blocks):
        result[rows] = _prune_in_rows(scores[rows], candidates[rows], counts[rows])
    return result


def _cut(scores: Scores, candidates: Flags, count: int) -> tuple[Any, int]:
    """Return the `count`-th least score of the candidates, and how many that are equal to it are to be pruned.

    Source: Floyd, Rivest, "Expected time bounds for selection", 1975.
    """
    low, high = _bounds(scores, candidates, count)
    below, between = 0, []
    for block in with_yields(_blocks(scores.size)):
        part = scores[block][candidates[block]]
        below += int((part < low).sum())
        between.append(part[(part >= low) & (part <= high)])
    contenders = np.concatenate(between)
    if not below < count <= below + len(contenders):
        below, contenders = 0, scores[candidates]
    cut = np.partition(contenders, count - below - 1)[count - below - 1]
    return cut, count - below - int((contenders < cut).sum())


def _bounds(scores: Scores, candidates: Flags, count: int) -> tuple[Any, Any]:
    """Return two scores that the `count`-th least almost surely lies between; for few scores all of them."""
    step = scores.size // _SAMPLE
    sample = np.sort(scores[::step][candidates[::step]]) if step > 1 else scores[:0]
    if not len(sample):
        return -np.inf, np.inf
    part = count / int(np.count_nonzero(candidates))
    rank, margin = part * len(sample), _MARGIN * np.sqrt(len(sample) * part * (1 - part)) + 1
    lowest, highest = int(rank - margin), int(rank + margin)
    return (
        sample[lowest] if lowest >= 0 else -np.inf,
        sample[highest] if highest < len(sample) else np.inf,
    )


def _prune_in_rows(scores: Scores, candidates: Flags, counts: Counts) -> Flags:
    ranked = np.where(candidates, scores, np.inf)
    cuts = np.full(len(ranked), -np.inf, ranked.dtype)
    for count in np.unique(counts[counts > 0]):
        rows = counts == count
        cuts[rows] = np.partition(ranked[rows], count - 1, axis=1)[:, count - 1]
    pruned = ranked < cuts[:, None]
    equal = (ranked == cuts[:, None]) & candidates
    quota = counts - pruned.sum(axis=1)
    tied = np.flatnonzero(equal.sum(axis=1) > quota)
    equal[tied] &= np.cumsum(equal[tied], axis=1) <= quota[tied, None]
    result: Flags = candidates & ~(pruned | equal)
    return result


def _blocks(entries: int) -> list[slice]:
    return [slice(begin, begin + BLOCK_ENTRIES) for begin in range(0, entries, BLOCK_ENTRIES)]
