"""What tensors have in a bracket: its keys and how many entries have each, or how many there are in buckets of keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Integers

BUCKETS: Final = 1 << 16
"""Most buckets that entries are counted in. So many keys, or fewer, are counted one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The keys of one tensor within the bracket, and how many entries have each; None: one each, in any order."""

    keys: Integers
    counts: Integers | None = None

    @property
    def entries(self) -> int:
        """The number of entries."""
        return len(self.keys) if self.counts is None else int(self.counts.sum())

    def of_key(self, key: int) -> int:
        """Return the number of entries that have a key."""
        is_equal = self.keys == key
        return int(np.count_nonzero(is_equal)) if self.counts is None else int(self.counts[is_equal].sum())


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """How many entries there are in each bucket of 2^`shift` keys, from the bracket's low end on."""

    shift: int
    counts: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What some tensors have below the bracket and in it: by name, or in buckets if that is too much to keep."""

    below: int
    found: Mapping[str, Found]
    buckets: Buckets | None = None


def found_in(parts: Sequence[Integers], low: int, high: int) -> Found:
    """Return the keys of a tensor; counted, if only so many are possible."""
    keys = np.concatenate(parts) if parts else np.empty(0, np.uint16)
    if high - low >= BUCKETS or not len(keys):
        return Found(keys)
    counts = np.bincount((keys - keys.dtype.type(low)).astype(np.int64))
    present = np.flatnonzero(counts)
    return Found((present.astype(np.uint64) + np.uint64(low)).astype(keys.dtype), counts[present])


def in_buckets(found: Found, low: int, high: int) -> Buckets:
    """Return how many entries there are in each of at most BUCKETS buckets from `low` to `high`."""
    shift = max(0, (high - low).bit_length() - BUCKETS.bit_length() + 1)
    buckets = ((found.keys.astype(np.uint64) - np.uint64(low)) >> np.uint64(shift)).astype(np.int64)
    number = ((high - low) >> shift) + 1
    if found.counts is None:
        return Buckets(shift, np.bincount(buckets, minlength=number))
    counts = np.zeros(number, np.int64)
    np.add.at(counts, buckets, found.counts)
    return Buckets(shift, counts)


def nth_least(found: Sequence[Found], rank: int) -> tuple[int, int]:
    """Return the key of a rank among all, and how many entries have smaller ones."""
    keys = np.concatenate([each.keys for each in found])
    if all(each.counts is None for each in found):
        keys.partition(rank)
        key = keys[rank]
        return int(key), int(np.count_nonzero(keys < key))
    counts = np.concatenate(
        [np.ones(len(each.keys), np.int64) if each.counts is None else each.counts for each in found]
    )
    order = np.argsort(keys, kind="stable")
    through = np.cumsum(counts[order])
    key = keys[order[int(np.searchsorted(through, rank + 1))]]
    return int(key), int(counts[keys < key].sum())
