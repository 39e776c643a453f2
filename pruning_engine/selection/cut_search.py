"""The cut below which entries of many tensors are pruned, found without holding the tensors: they come again.

The same selection as `entries.select`, with the same result, for tensors that come one after the other and are
released in between. In a first reading a sample is drawn from each; it gives two keys that the cut almost surely lies
between. In a second one the entries below these are counted, and the keys between them collected, which settles the cut
and how many of the entries that are equal to it each tensor loses. If the sample misled, one more reading is needed.
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

    Among equals the first tensors, in the order of the bytes of their names, lose theirs first.
    """

    def __init__(self, entries: int, tuning: Tuning | None = None) -> None:
        """`entries`: of all tensors together. `tuning`: other than `TUNING`, which only tests need."""
        self.unpruned = 0
        self._tuning = selection.TUNING if tuning is None else tuning
        self._stride = self._tuning.stride(entries)
        self._samples: list[Integers] = []
        self._highest = 0
        self._is_uniform = True
        self._count = 0
        self._below = 0
        self._bracket: Bracket | None = None
        self._found: dict[str, Integers | int] = {}

    def sample(self, candidates: Candidates) -> None:
        """Draw the sample of one tensor, and count its candidates."""
        self._samples.append(draw_sample(candidates, self._stride))
        self.unpruned += candidates.unpruned
        self._highest = max(self._highest, candidates.highest)
        self._is_uniform &= candidates.is_uniform

    def aim(self, count: int) -> Cut | None:
        """Begin to search the `count` least of all candidates, at most `unpruned`. Return the cut if there is none."""
        if count == 0:
            return Cut(None)
        sample = np.concatenate(self._samples) if self._samples else np.empty(0, np.uint64)
        self._samples.clear()
        self._count = count
        self._bracket = Bracket(
            sample, self.unpruned, self._highest, self._tuning.deviations, is_uniform=self._is_uniform
        )
        self._bracket.guess(count)
        return None

    def look(self, name: str, candidates: Candidates) -> None:
        """Count what one tensor has below the bracket, and collect what is in it. Raises: NanKeyError."""
        if self._bracket is None:
            raise RuntimeError("nothing is searched: aim first")
        low, high = self._bracket.low, self._bracket.high
        kept = candidates.blank()
        splits = in_parallel(lambda piece: candidates.split(piece, low, high, kept), candidates.pieces())
        if any(split.has_nan for split in splits):
            raise NanKeyError(0)
        self._below += candidates.unpruned - sum(split.kept for split in splits)
        if low == high:
            self._found[name] = sum(split.inside for split in splits)
        else:
            self._found[name] = np.concatenate([split.keys for split in splits if split.keys is not None] or [_NO_KEYS])

    def settle(self) -> Cut | None:
        """Return the cut, once every tensor has been looked into; None if they must be looked into once more."""
        if self._bracket is None:
            raise RuntimeError("nothing is searched: aim first")
        inside = sum(_number(found) for found in self._found.values())
        cut = None
        if self._below < self._count <= self._below + inside:
            cut = self._cut(self._bracket.low)
        else:
            self._bracket.narrow(self._count, self._below, inside)
            self._bracket.guess(self._count)
        self._found.clear()
        self._below = 0
        return cut

    def _cut(self, low: int) -> Cut:
        names = sorted(self._found, key=str.encode)
        to_prune = self._count - self._below
        collected = {name: keys for name in names if not isinstance(keys := self._found[name], int)}
        if not collected:
            equal = [_number(self._found[name]) for name in names]
            return Cut(low, _shares(names, equal, to_prune))
        keys = np.concatenate(list(collected.values()))
        keys.partition(to_prune - 1)
        key = keys[to_prune - 1]
        less = int(np.count_nonzero(keys < key))
        equal = [int(np.count_nonzero(each == key)) for each in collected.values()]
        return Cut(int(key), _shares(names, equal, to_prune - less))


_NO_KEYS: Final = np.empty(0, np.uint16)


def search_bytes(entries: int) -> int:
    """Return roughly the bytes that a search among `entries` entries takes: its sample and the collected keys."""
    stride = selection.TUNING.stride(entries)
    sampled = entries // stride + 1
    collected = min(entries, int(2 * (selection.TUNING.deviations * sqrt(sampled) / 2 + 1)) * stride)
    return _KEY_BYTES * (2 * sampled + _COPIES * collected)


def _number(found: Integers | int) -> int:
    return found if isinstance(found, int) else len(found)


def _shares(names: list[str], equal: list[int], total: int) -> dict[str, int]:
    return {name: quota for name, quota in zip(names, quotas(equal, total), strict=True) if quota}
