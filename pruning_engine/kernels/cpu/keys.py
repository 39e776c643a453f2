"""Keys of a piece of a tensor's entries."""

from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.dtypes import element_bits, is_float
from pruning_engine.kernels.backend import RUN_ENTRIES, Integers
from pruning_engine.kernels.cpu.arrays import NumberReader, Values, raw_integers, take_runs
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number, magnitude_bits
from pruning_engine.kernels.random_keys import GOLDEN, MASK64, MIX
from pruning_engine.kernels.scaled_weights import ScaledWeights


class Keys(Protocol):
    """Reads the keys of a tensor's entries, as unsigned integers; those above `largest_number` are NaN."""

    highest: int
    largest_number: int | None

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`; they may be overwritten."""
        ...

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        ...

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        ...


class FloatKeys:
    """The bits of floats without their sign."""

    def __init__(self, flat: Buffer) -> None:
        self.highest = highest_key(flat.dtype)
        self.largest_number = largest_number(flat.dtype)
        self.bits = raw_integers(flat)
        self.magnitude = self.bits.dtype.type(magnitude_bits(flat.dtype))

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        keys: Integers = np.bitwise_and(self.bits[begin:end], self.magnitude)
        return keys

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        bits: Integers = take_runs(self.bits, numbers)
        np.bitwise_and(bits, self.magnitude, out=bits)
        return bits

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        keys: Integers = self.bits[positions] & self.magnitude
        return keys


class IntegerKeys:
    """The absolute values of integers; unsigned, so that the least one has its own."""

    largest_number: int | None = None

    def __init__(self, flat: Buffer) -> None:
        self.highest = highest_key(flat.dtype)
        self._values = flat.array

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        return _unsigned(np.abs(self._values[begin:end]))

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        return _unsigned(np.abs(take_runs(self._values, numbers)))

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        return _unsigned(np.abs(self._values[positions]))


class ConvertedKeys:
    """The keys of entries converted to a dtype that holds those of all tensors with candidates."""

    def __init__(self, flat: Values, domain: str) -> None:
        width = element_bits(domain) // 8
        self.highest = highest_key(domain)
        self.largest_number = largest_number(domain)
        self._numbers = NumberReader(flat, f"f{width}")
        self._dtype = np.dtype(f"u{width}")
        self._magnitude = self._dtype.type(magnitude_bits(domain))

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        bits = self._numbers.read(begin, end).view(self._dtype)
        np.bitwise_and(bits, self._magnitude, out=bits)
        return bits

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        bits: Integers = self._numbers.runs(numbers).view(self._dtype) & self._magnitude
        return bits

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        bits: Integers = self._numbers.at(positions).view(self._dtype) & self._magnitude
        return bits


class RandomKeys:
    """splitmix64 of the index: see random_keys.py."""

    highest = MASK64
    largest_number: int | None = None

    def __init__(self, key: int) -> None:
        self._key = key

    def read(self, begin: int, end: int) -> Integers:
        """Return the keys from `begin` to `end`."""
        return _mix(np.add(_ladder(end - begin), np.uint64(self.start(begin))))

    def runs(self, numbers: Integers) -> Integers:
        """Return the keys of whole runs."""
        return self.at((numbers[:, None] * RUN_ENTRIES + np.arange(RUN_ENTRIES)).reshape(-1))

    def at(self, positions: Integers) -> Integers:
        """Return the keys at `positions`."""
        index = positions.astype(np.uint64)
        np.multiply(index, np.uint64(GOLDEN), out=index)
        return _mix(np.add(index, np.uint64(self.start(0)), out=index))

    def start(self, index: int) -> int:
        """Return what is mixed into the key of one entry."""
        return (self._key + (index + 1) * GOLDEN) & MASK64


def magnitude_keys(flat: Values, domain: str) -> Keys:
    """Return the keys of a flat buffer's magnitudes as values of `domain`."""
    if isinstance(flat, ScaledWeights) or flat.dtype != domain:
        return ConvertedKeys(flat, domain)
    return FloatKeys(flat) if is_float(domain) else IntegerKeys(flat)


def sampled_runs(entries: int, stride: int, seed: int) -> Integers:
    """Return the numbers of the runs that a sample has: one of each `stride`, at random; of the last ones perhaps none.

    By the engine's own mixer, as in C: importing numpy.random takes 10 ms and 6 MB.
    """
    runs = entries // RUN_ENTRIES
    first = np.arange(0, runs, stride, dtype=np.uint64)
    drawn = first + (_mix(first + np.uint64(seed)) >> np.uint64(32)) * np.uint64(stride) // np.uint64(1 << 32)
    return drawn[drawn < runs].astype(np.int64)


@cache
def _whole_ladder(entries: int) -> Integers:
    return np.arange(entries, dtype=np.uint64) * np.uint64(GOLDEN)


def _ladder(entries: int) -> Integers:
    """Return the multiples of the golden step, of which every piece needs the same ones."""
    return _whole_ladder(1 << max(entries - 1, 0).bit_length())[:entries]


def _mix(values: Integers) -> Integers:
    """Finalize in place."""
    shifted = np.empty_like(values)
    for shift, factor in MIX:
        np.right_shift(values, np.uint64(shift), out=shifted)
        np.bitwise_xor(values, shifted, out=values)
        if factor is not None:
            np.multiply(values, np.uint64(factor), out=values)
    return values


def _unsigned(values: npt.NDArray[np.integer]) -> Integers:
    return values.view(f"u{values.dtype.itemsize}")
