"""Samples of tensors that are not held: of whole tensors, and of blocks that are read instead of these.

Entries of a block may be alike, such as the weights of one neuron, and then say less than as many that were drawn one
by one. So a sample of blocks remembers which keys are of which block: how much neighbouring blocks differ tells how far
to trust it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Integers
from pruning_engine.kernels.random_keys import score

_NO_NUMBERS: Final = np.empty(0, np.int64)

PAGE_BYTES: Final = 4096
"""What is read from a disk at once; all blocks begin at multiples of it, and of every element's size."""


@dataclass(frozen=True, slots=True)
class BlockTuning:
    """How blocks are laid out. Changes how much is read, never a result.

    About one `part`th of a tensor is read, in at least `least_blocks` blocks, and about `most_blocks` of all tensors
    together; a block has `least_bytes` to `most_bytes`. Tensors below `whole_bytes` are read whole.
    """

    part: int = 12
    least_blocks: int = 4
    most_blocks: int = 8192
    least_bytes: int = 2 * PAGE_BYTES
    most_bytes: int = 1 << 20
    whole_bytes: int = 1 << 20

    def block_bytes(self, total_bytes: int) -> int:
        """Return the size of the blocks of tensors that have `total_bytes` together."""
        return min(self.most_bytes, max(self.least_bytes, _power(total_bytes // self.part // self.most_blocks)))

    def spans(self, nbytes: int, block_bytes: int, key: int) -> tuple[tuple[int, int], ...]:
        """Return where the blocks of a tensor begin and end: one in each of even strata, at places that `key` draws."""
        fitting = _power(nbytes // self.part // self.least_blocks)
        size = min(block_bytes, max(PAGE_BYTES, fitting))
        strata = max(1, nbytes // (size * self.part))
        pages = nbytes // PAGE_BYTES
        found = []
        for number in range(strata):
            first, last = number * pages // strata, (number + 1) * pages // strata - size // PAGE_BYTES
            page = first + (score(key, number) * (max(0, last - first) + 1) >> 64)
            found.append((page * PAGE_BYTES, min(nbytes, page * PAGE_BYTES + size)))
        return tuple(found)


BLOCKS: Final = BlockTuning()


def _power(number: int) -> int:
    """Return the largest power of 2 that is no larger; 0 of 0."""
    return (1 << number.bit_length()) >> 1


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What samples say of some tensors: keys, how many candidates there are, and the largest key that is possible.

    With `is_uniform` any key up to `highest` is equally likely, and there is no sample. The first keys are of blocks:
    `blocks` has the number of keys of each, and `tensors` the number of blocks of each tensor.
    """

    keys: Integers
    unpruned: int
    highest: int
    is_uniform: bool
    blocks: Integers = field(default_factory=lambda: _NO_NUMBERS)
    tensors: Integers = field(default_factory=lambda: _NO_NUMBERS)

    def inflation(self, key: int) -> float:
        """Return how many times further off the rank of a key is than if its keys had been drawn one by one: 1 or more.

        Source: the estimator of successive differences of systematic samples; Wolter, "Introduction to Variance
        Estimation", 2007, chapter 8.
        """
        if not len(self.blocks) or not len(self.keys):
            return 1.0
        of_blocks = int(self.blocks.sum())
        part = float(np.count_nonzero(self.keys <= key)) / len(self.keys)
        alone = part * (1 - part)
        variance = self._variance(key) + alone * (len(self.keys) - of_blocks)
        few = 1 + 8 / len(self.blocks)
        return few * max(1.0, sqrt(variance / max(1.0, alone * len(self.keys))))

    def _variance(self, key: int) -> float:
        """Return the variance of the number of keys of blocks that are no larger than `key`."""
        lengths = np.maximum(self.blocks, 1)
        starts = np.concatenate([[0], np.cumsum(self.blocks)[:-1]])
        through = np.concatenate([[0], np.cumsum(self.keys[: int(self.blocks.sum())] <= key)])
        parts = (through[starts + self.blocks] - through[starts]) / lengths
        tensor = np.repeat(np.arange(len(self.tensors)), self.tensors)
        is_pair = tensor[1:] == tensor[:-1]
        number = self.tensors[tensor[1:]][is_pair]
        weights = number / np.maximum(number - 1, 1) / 2 * (lengths[1:] * lengths[:-1])[is_pair]
        return float((weights * np.diff(parts)[is_pair] ** 2).sum())


class Samples:
    """Gathers what is sampled of tensors, one after the other."""

    def __init__(self) -> None:
        self.unpruned = 0
        self.highest = 0
        self.is_uniform = True
        self._of_blocks: list[Integers] = []
        self._others: list[Integers] = []
        self._blocks: list[Integers] = []
        self._tensors: list[Integers] = []

    def add(self, sampled: Sampled) -> None:
        """Add what was sampled of other tensors."""
        of_blocks = int(sampled.blocks.sum())
        self._of_blocks.append(sampled.keys[:of_blocks])
        self._others.append(sampled.keys[of_blocks:])
        self._blocks.append(sampled.blocks)
        self._tensors.append(sampled.tensors)
        self.unpruned += sampled.unpruned
        self.highest = max(self.highest, sampled.highest)
        self.is_uniform &= sampled.is_uniform

    def all(self) -> Sampled:
        """Return all of it."""
        return Sampled(
            keys=_joined([*self._of_blocks, *self._others], np.empty(0, np.uint64)),
            unpruned=self.unpruned,
            highest=self.highest,
            is_uniform=self.is_uniform,
            blocks=_joined(self._blocks, _NO_NUMBERS),
            tensors=_joined(self._tensors, _NO_NUMBERS),
        )


def blocks_of(keys: Integers, blocks: int, unpruned: int, highest: int) -> Sampled:
    """Return the sample of one tensor from keys of its blocks, which have about as many each."""
    ends = np.arange(blocks + 1) * len(keys) // max(1, blocks)
    return Sampled(keys, unpruned, highest, is_uniform=False, blocks=np.diff(ends), tensors=np.array([blocks]))


def _joined(arrays: Sequence[Integers], nothing: Integers) -> Integers:
    some = [array for array in arrays if len(array)]
    return np.concatenate(some) if some else nothing
