"""The cut below which entries of many tensors are pruned, found without holding the tensors: they come again.

The same selection as `entries.select`, with the same result, for tensors that come one after the other and are
released in between. In a first reading a sample is drawn from each; it gives two keys that the cut almost surely lies
between. In a second one the entries below these are counted, and the keys between them collected, which settles the cut
and how many of the entries that are equal to it each tensor loses. If the sample misled, one more reading is needed; so
it is if there is too much between the keys to be collected, which is then counted in buckets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Candidates, Integers
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.selection import entries as selection
from pruning_engine.selection.bracket import Bracket
from pruning_engine.selection.entries import NanKeyError, Tuning, draw_sample, quotas
from pruning_engine.selection.found_keys import Buckets, Found, Looked, found_in, in_buckets, nth_least
from pruning_engine.selection.samples import Sampled, Samples, blocks_of

_KEY_BYTES: Final = 8
"""What a key takes at most."""

_COPIES: Final = 3
"""Of a collected key: of each tensor, of all in a row, and what compares them with the cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The largest key that is pruned, and how many entries that have it each tensor loses, by name.

    `key` is None where nothing is pruned.
    """

    key: int | None
    equal: Mapping[str, int] = field(default_factory=dict)

    def kept(self, name: str, candidates: Candidates) -> PackedMask:
        """Return the mask of a tensor without what is pruned. Raises: NanKeyError."""
        low = self.key or 0
        kept = candidates.blank()
        pieces = candidates.pieces()
        splits = in_parallel(lambda piece: candidates.split(piece, low, low, kept), pieces)
        if any(split.has_nan for split in splits):
            raise NanKeyError(0)
        shares = zip(pieces, quotas([split.inside for split in splits], self.equal.get(name, 0)), strict=True)
        pairs = [(piece, quota) for piece, quota in shares if quota]
        in_parallel(lambda pair: candidates.drop_equal(pair[0], low, pair[1], kept), pairs)
        return kept


class CutSearch:
    """Finds the cut: `sample` every tensor, then `aim`; `look` into every tensor, then `settle`, until it is found.

    Several searches can share the work: each samples some of the tensors, and one of them adds what the others
    `sampled`; each looks into some at the `bracket` of that one, and that one adds what they `looked`.
    Among equals the first tensors, in the order of the bytes of their names, lose theirs first.
    """

    def __init__(self, entries: int, tuning: Tuning | None = None) -> None:
        """`entries`: of all tensors together. `tuning`: other than `TUNING`, which only tests need."""
        self._tuning = selection.TUNING if tuning is None else tuning
        self._stride = self._tuning.stride(entries)
        self._samples = Samples()
        self._count = 0
        self._bracket: Bracket | None = None
        self._ends = (0, 0)
        self._begin_looking()

    @property
    def unpruned(self) -> int:
        """The number of candidates of all tensors that were sampled."""
        return self._samples.unpruned

    def sample(self, candidates: Candidates, seed: int | None = None) -> None:
        """Draw the sample of one tensor, and count its candidates. `seed`: of 64 bits; None: nobody can foresee it."""
        keys = draw_sample(candidates, self._stride, seed)
        self._samples.add(Sampled(keys, candidates.unpruned, candidates.highest, candidates.is_uniform))

    def sample_blocks(self, candidates: Candidates, blocks: int, entries: int, seed: int) -> None:
        """Draw the sample of one tensor of `entries`, all candidates, from blocks of it."""
        stride = max(1, self._stride * candidates.entries // entries)
        self._samples.add(blocks_of(draw_sample(candidates, stride, seed), blocks, entries, candidates.highest))

    @property
    def sampled(self) -> Sampled:
        """What has been sampled so far."""
        return self._samples.all()

    def add_sampled(self, sampled: Sampled) -> None:
        """Add what another search has sampled of other tensors."""
        self._samples.add(sampled)

    def aim(self, count: int) -> Cut | None:
        """Begin to search the `count` least of all candidates, at most `unpruned`. Return the cut if there is none."""
        if count == 0:
            return Cut(None)
        sampled, self._samples = self._samples.all(), Samples()
        self._count = count
        self._bracket = Bracket(
            sampled.keys,
            sampled.unpruned,
            sampled.highest,
            self._tuning.deviations * sampled.inflation(_at_part(sampled.keys, count / sampled.unpruned)),
            is_uniform=sampled.is_uniform,
        )
        self._ends = self._bracket.guess(count)
        return None

    @property
    def bracket(self) -> tuple[int, int]:
        """The two keys between which the cut is looked for, both included."""
        return self._ends

    def look_between(self, low: int, high: int) -> None:
        """Look at the bracket of another search."""
        self._ends = (low, high)

    def look(self, name: str, candidates: Candidates) -> None:
        """Count what one tensor has below the bracket, and collect what is in it. Raises: NanKeyError."""
        low, high = self._ends
        kept = candidates.blank()
        splits = in_parallel(lambda piece: candidates.split(piece, low, high, kept), candidates.pieces())
        if any(split.has_nan for split in splits):
            raise NanKeyError(0)
        self._below += candidates.unpruned - sum(split.kept for split in splits)
        if low == high:
            inside = sum(split.inside for split in splits)
            self._keep(name, Found(np.array([low], np.uint64), np.array([inside], np.int64)))
        else:
            self._keep(name, found_in([split.keys for split in splits if split.keys is not None], low, high))

    @property
    def looked(self) -> Looked:
        """What has been found of the tensors that were looked into since the bracket was set."""
        return Looked(self._below, self._found, self._buckets)

    def add_looked(self, looked: Looked) -> None:
        """Add what another search has found of other tensors."""
        self._below += looked.below
        if looked.buckets is not None:
            self._add_buckets(looked.buckets)
        for name, found in looked.found.items():
            self._keep(name, found)

    def settle(self) -> Cut | None:
        """Return the cut, once every tensor has been looked into; None if they must be looked into once more."""
        if self._bracket is None:
            raise RuntimeError("nothing is searched: aim first")
        inside = sum(found.entries for found in self._found.values())
        if self._buckets is not None:
            inside += int(self._buckets.counts.sum())
        cut = None
        if not self._below < self._count <= self._below + inside:
            self._bracket.narrow(self._count, self._below, inside)
            self._ends = self._bracket.guess(self._count)
        elif self._buckets is not None:
            self._narrow_to_bucket(self._bracket, self._buckets)
        else:
            cut = self._cut()
        self._begin_looking()
        return cut

    def _begin_looking(self) -> None:
        self._below = 0
        self._kept_keys = 0
        self._found: dict[str, Found] = {}
        self._buckets: Buckets | None = None

    def _keep(self, name: str, found: Found) -> None:
        """Keep what was found in one tensor; from a limit on only the numbers of entries in buckets."""
        self._found[name] = found
        self._kept_keys += len(found.keys)
        low, high = self._ends
        if low < high and (self._buckets is not None or self._kept_keys > self._tuning.most_collected):
            kept, self._found = self._found, {}
            for each in kept.values():
                self._add_buckets(in_buckets(each, low, high))

    def _add_buckets(self, buckets: Buckets) -> None:
        before = self._buckets
        self._buckets = buckets if before is None else Buckets(buckets.shift, before.counts + buckets.counts)

    def _narrow_to_bucket(self, bracket: Bracket, buckets: Buckets) -> None:
        """Look into the bucket that has the cut next."""
        low, high = self._ends
        through = self._below + np.cumsum(buckets.counts)
        number = int(np.searchsorted(through, self._count))
        inside = int(buckets.counts[number])
        first = low + (number << buckets.shift)
        last = min(high, first + (1 << buckets.shift) - 1)
        self._ends = bracket.set(first, last, int(through[number]) - inside, inside)

    def _cut(self) -> Cut:
        names = sorted(self._found, key=str.encode)
        to_prune = self._count - self._below
        key, less = nth_least([self._found[name] for name in names], to_prune - 1)
        equal = [self._found[name].of_key(key) for name in names]
        return Cut(key, _shares(names, equal, to_prune - less))


def _at_part(sample: Integers, part: float) -> int:
    """Return the key that about a part of a sample is not above; 0 if there is no sample."""
    if not len(sample):
        return 0
    rank = min(len(sample) - 1, int(part * len(sample)))
    return int(np.partition(sample, rank)[rank])


def search_bytes(entries: int) -> int:
    """Return roughly the bytes that a search among `entries` entries takes: its sample and the collected keys."""
    stride = selection.TUNING.stride(entries)
    sampled = entries // stride + 1
    collected = int(2 * (selection.TUNING.deviations * sqrt(sampled) / 2 + 1)) * stride
    collected = min(entries, collected, selection.TUNING.most_collected)
    return _KEY_BYTES * (2 * sampled + _COPIES * collected)


def _shares(names: list[str], equal: list[int], total: int) -> dict[str, int]:
    return {name: quota for name, quota in zip(names, quotas(equal, total), strict=True) if quota}
