"""Entries that compete, on the CPU: keys of a piece in a buffer, and one pass over them.

A pass reads a piece once and works in the cache after that: keys, compare, pack; subtract, compare, collect. Dead
entries cost nothing: the packed mask is combined with the packed comparison, eight entries at a time.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.kernels import magnitude_keys as scores
from pruning_engine.kernels import random_keys as random_scores
from pruning_engine.kernels.backend import RUN_ENTRIES, Bits, Integers, Split
from pruning_engine.kernels.cpu.arrays import (
    NumberReader,
    are_alive,
    bit_array,
    count_ones,
    pieces,
    raw,
    raw_integers,
    take_runs,
    unpacked,
)
from pruning_engine.runtime.scratch_buffers import buffer


class Keys(Protocol):
    """Reads the keys of a tensor's entries, as unsigned integers; those above `largest_number` are NaN."""

    highest: int
    largest_number: int | None

    def read(self, begin: int, end: int) -> Integers:
        """Give the keys from `begin` to `end` in a buffer."""
        ...

    def runs(self, numbers: Integers) -> Integers:
        """Give the keys of whole runs."""
        ...


class FloatKeys:
    """The bits of floats without their sign."""

    def __init__(self, flat: torch.Tensor) -> None:
        self.highest = scores.highest_key(flat.dtype)
        self.largest_number = scores.largest_number(flat.dtype)
        self._bits = raw_integers(flat)
        self._magnitude = self._bits.dtype.type(scores.magnitude_bits(flat.dtype))

    def read(self, begin: int, end: int) -> Integers:
        """Give the keys from `begin` to `end`."""
        out = buffer("keys", self._bits.dtype, end - begin)
        np.bitwise_and(self._bits[begin:end], self._magnitude, out=out)
        return out

    def runs(self, numbers: Integers) -> Integers:
        """Give the keys of whole runs."""
        bits: Integers = take_runs(self._bits, numbers)
        np.bitwise_and(bits, self._magnitude, out=bits)
        return bits


class IntegerKeys:
    """The absolute values of integers; unsigned, so that the least one has its own."""

    largest_number: int | None = None

    def __init__(self, flat: torch.Tensor) -> None:
        self.highest = scores.highest_key(flat.dtype)
        self._values = raw(flat)

    def read(self, begin: int, end: int) -> Integers:
        """Give the keys from `begin` to `end`."""
        out = buffer("keys", self._values.dtype, end - begin)
        return _unsigned(np.abs(self._values[begin:end], out=out))

    def runs(self, numbers: Integers) -> Integers:
        """Give the keys of whole runs."""
        return _unsigned(np.abs(take_runs(self._values, numbers)))


class ConvertedKeys:
    """The keys of entries converted to a dtype that holds those of all tensors that compete."""

    def __init__(self, flat: torch.Tensor, domain: torch.dtype) -> None:
        self.highest = scores.highest_key(domain)
        self.largest_number = scores.largest_number(domain)
        self._numbers = NumberReader(flat, f"f{domain.itemsize}")
        self._dtype = np.dtype(f"u{domain.itemsize}")
        self._magnitude = self._dtype.type(scores.magnitude_bits(domain))

    def read(self, begin: int, end: int) -> Integers:
        """Give the keys from `begin` to `end`."""
        bits = self._numbers.read(begin, end).view(self._dtype)
        np.bitwise_and(bits, self._magnitude, out=bits)
        return bits

    def runs(self, numbers: Integers) -> Integers:
        """Give the keys of whole runs."""
        bits: Integers = self._numbers.runs(numbers).view(self._dtype) & self._magnitude
        return bits


class RandomKeys:
    """splitmix64 of the index: see random_scores.py."""

    highest = random_scores.MASK64
    largest_number: int | None = None

    def __init__(self, key: int) -> None:
        self._key = key

    def read(self, begin: int, end: int) -> Integers:
        """Give the keys from `begin` to `end`."""
        out = buffer("keys", np.uint64, end - begin)
        return _mix(np.add(_ladder(end - begin), np.uint64(self._start(begin)), out=out))

    def runs(self, numbers: Integers) -> Integers:
        """Give the keys of whole runs."""
        index = (numbers[:, None] * RUN_ENTRIES + np.arange(RUN_ENTRIES)).reshape(-1).astype(np.uint64)
        np.multiply(index, np.uint64(random_scores.GOLDEN), out=index)
        return _mix(np.add(index, np.uint64(self._start(0)), out=index))

    def _start(self, index: int) -> int:
        return (self._key + (index + 1) * random_scores.GOLDEN) & random_scores.MASK64


@cache
def _whole_ladder(entries: int) -> Integers:
    return np.arange(entries, dtype=np.uint64) * np.uint64(random_scores.GOLDEN)


def _ladder(entries: int) -> Integers:
    """The multiples of the golden step, of which every piece needs the same ones."""
    return _whole_ladder(1 << max(entries - 1, 0).bit_length())[:entries]


def _mix(values: Integers) -> Integers:
    """Finalize in place."""
    shifted = buffer("shifted", np.uint64, len(values))
    for shift, factor in random_scores.MIX:
        np.right_shift(values, np.uint64(shift), out=shifted)
        np.bitwise_xor(values, shifted, out=values)
        if factor is not None:
            np.multiply(values, np.uint64(factor), out=values)
    return values


class NumpyCandidates:
    """The entries of one CPU tensor that compete: `backend.Candidates` in numpy."""

    def __init__(self, keys: Keys, size: int, alive: Bits | None, step: int) -> None:
        self.size = size
        self.highest = keys.highest
        self._keys = keys
        self._alive = bit_array(alive) if alive is not None else None
        self.alive = count_ones(self._alive) if self._alive is not None else size
        self._largest_number = keys.largest_number
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Where each piece begins and ends."""
        return pieces(self.size, self._step)

    def blank(self) -> Bits:
        """Give a mask to be filled."""
        return torch.empty((self.size + 7) // 8, dtype=torch.uint8, device="cpu")

    def sample(self, runs: Integers) -> Integers:
        """Give the keys of the alive entries in some runs."""
        keys = self._keys.runs(runs)
        if self._alive is None:
            return keys
        packed = take_runs(self._alive, runs, RUN_ENTRIES // 8)
        return keys[unpacked(packed, len(keys))]

    def everything(self) -> Integers:
        """Give the keys of all alive entries."""
        keys = self._keys.read(0, self.size)
        return keys.copy() if self._alive is None else keys[unpacked(self._alive, self.size)]

    def split(self, piece: tuple[int, int], low: int, high: int, kept: Bits) -> Split:
        """Write the piece's bits and look into the bracket."""
        begin, end = piece
        keys = self._keys.read(begin, end)
        alive = self._alive_in(piece)
        flags = buffer("flags", np.bool_, end - begin)
        packed = self._pack(np.greater_equal(keys, keys.dtype.type(low), out=flags), alive)
        bit_array(kept)[begin // 8 : (end + 7) // 8] = packed
        has_nan = self._has_nan(keys, alive)
        if low == high:
            np.equal(keys, keys.dtype.type(low), out=flags)
            inside = int(np.count_nonzero(flags)) if alive is None else count_ones(self._pack(flags, alive))
            return Split(count_ones(packed), inside, None, None, has_nan)
        np.subtract(keys, keys.dtype.type(low), out=keys)  # keys below wrap around to above the bracket
        positions = np.flatnonzero(np.less_equal(keys, keys.dtype.type(high - low), out=flags))
        if alive is not None:
            positions = positions[are_alive(alive, positions)]
        found = keys[positions] + keys.dtype.type(low)
        return Split(count_ones(packed), len(positions), positions.astype(np.uint32), found, has_nan)

    def largest(self, piece: tuple[int, int]) -> int:
        """Give the largest key of the piece's alive entries; 0 if there are none."""
        keys = self._keys.read(*piece)
        alive = self._alive_in(piece)
        if alive is not None:
            keys = keys[unpacked(alive, len(keys))]
        return int(keys.max()) if len(keys) else 0

    def drop(self, begin: int, positions: Integers, kept: Bits) -> None:
        """Clear the bits of entries at `positions` from `begin`."""
        packed = bit_array(kept)[begin // 8 :]
        np.bitwise_and.at(packed, positions >> 3, ~(np.uint8(1) << (positions & 7).astype(np.uint8)))

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: Bits) -> None:
        """Clear the bits of the first `count` alive entries of a piece that have this key."""
        begin, end = piece
        keys = self._keys.read(begin, end)
        flags = np.equal(keys, keys.dtype.type(key), out=buffer("flags", np.bool_, end - begin))
        alive = self._alive_in(piece)
        if alive is not None:
            np.logical_and(flags, unpacked(alive, end - begin), out=flags)
        equal = np.flatnonzero(flags)
        if count < len(equal):
            flags[equal[count] :] = False
        bit_array(kept)[begin // 8 : (end + 7) // 8] &= ~np.packbits(flags, bitorder="little")

    def is_nan(self, key: int) -> bool:
        """Whether a key stands for NaN."""
        return self._largest_number is not None and key > self._largest_number

    def _alive_in(self, piece: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        return None if self._alive is None else self._alive[piece[0] // 8 : (piece[1] + 7) // 8]

    def _pack(self, flags: npt.NDArray[np.bool_], alive: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
        packed = np.packbits(flags, bitorder="little")
        return packed if alive is None else np.bitwise_and(packed, alive, out=packed)

    def _has_nan(self, keys: Integers, alive: npt.NDArray[np.uint8] | None) -> bool:
        if self._largest_number is None or int(keys.max()) <= self._largest_number:
            return False
        nan = keys > keys.dtype.type(self._largest_number)
        return bool(self._pack(nan, alive).any())


def magnitude_keys(flat: torch.Tensor, domain: torch.dtype) -> Keys:
    """Give the keys of a flat CPU tensor's magnitudes as values of `domain`."""
    if flat.dtype is not domain:
        return ConvertedKeys(flat, domain)
    return FloatKeys(flat) if domain.is_floating_point else IntegerKeys(flat)


def _unsigned(values: npt.NDArray[np.integer]) -> Integers:
    return values.view(f"u{values.dtype.itemsize}")
