"""Entries that compete, in torch operations.

torch's unsigned integers lack most operations, so keys are signed here: those of narrow dtypes fit, and those that
take all 64 bits have their top bit flipped, which keeps the order. On the host all keys are uint64.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch

from pruning_engine.kernels import magnitude_keys as scores
from pruning_engine.kernels import random_keys as random_scores
from pruning_engine.kernels.backend import RUN_ENTRIES, Bits, Integers, Split
from pruning_engine.kernels.cpu.arrays import pieces
from pruning_engine.kernels.cuda.bits import bits_at, count_bits, pack_bits, unpack_bits

_TOP_BIT: Final = 2**63
_SIGNED: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_FULL_WIDTH: Final = frozenset({torch.int64, torch.uint64})


class Keys(Protocol):
    """Gives the keys of a tensor's entries, as torch integers: `key - offset` for each key."""

    offset: int
    highest: int
    largest_number: int | None

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Give the keys from `begin` to `end`."""
        ...

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Give the keys at `positions`."""
        ...


class MagnitudeKeys:
    """Magnitudes, compared as values of `domain`."""

    def __init__(self, flat: torch.Tensor, domain: torch.dtype) -> None:
        self._flat = flat
        self._domain = domain
        self.offset = _TOP_BIT if domain in _FULL_WIDTH else 0
        self.highest = scores.highest_key(domain)
        self.largest_number = scores.largest_number(domain)

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Give the keys from `begin` to `end`."""
        return self._keys(self._flat[begin:end])

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Give the keys at `positions`."""
        bits = self._flat.view(_SIGNED[self._flat.dtype.itemsize])[positions]
        return self._keys(bits.view(self._flat.dtype))

    def _keys(self, values: torch.Tensor) -> torch.Tensor:
        if self._domain.is_floating_point:
            wide = values.to(self._domain)
            return wide.view(_SIGNED[wide.dtype.itemsize]) & scores.magnitude_bits(self._domain)
        if self._domain is torch.uint64:
            return values.view(torch.int64) ^ -_TOP_BIT
        if self._domain is torch.int64:
            return values.abs() ^ -_TOP_BIT  # the least one stays itself, which is 2^63 read without a sign
        return values.to(torch.int64).abs()


class RandomKeys:
    """splitmix64 of the index: see random_scores.py. int64 wraps around as uint64 does."""

    offset = _TOP_BIT
    highest = random_scores.MASK64
    largest_number: int | None = None

    def __init__(self, key: int, device: torch.device) -> None:
        self._start = _signed(key + random_scores.GOLDEN)
        self._device = device

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Give the keys from `begin` to `end`."""
        return self.at(torch.arange(begin, end, dtype=torch.int64, device=self._device))

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Give the keys at `positions`."""
        value = positions * _signed(random_scores.GOLDEN) + self._start
        for shift, factor in random_scores.MIX:
            value = value ^ (value >> shift & (1 << 64 - shift) - 1)  # a shift without the sign
            if factor is not None:
                value = value * _signed(factor)
        return value ^ -_TOP_BIT


class TorchCandidates:
    """The entries of one tensor that compete: `backend.Candidates` in torch operations."""

    def __init__(self, keys: Keys, size: int, alive: Bits | None, step: int) -> None:
        self.size = size
        self.alive = count_bits(alive) if alive is not None else size
        self.highest = keys.highest
        self._keys = keys
        self._alive = alive
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Where each piece begins and ends."""
        return pieces(self.size, self._step)

    def blank(self) -> Bits:
        """Give a mask to be filled."""
        device = self._keys.read(0, 0).device
        return torch.empty((self.size + 7) // 8, dtype=torch.uint8, device=device)

    def sample(self, runs: Integers) -> Integers:
        """Give the keys of the alive entries in some runs."""
        device = self._keys.read(0, 0).device
        within = torch.arange(RUN_ENTRIES, device=device)
        places = (torch.from_numpy(runs).to(device).view(-1, 1) * RUN_ENTRIES + within).view(-1)
        if self._alive is not None:
            places = places[bits_at(self._alive, places)]
        return self._on_host(self._keys.at(places))

    def everything(self) -> Integers:
        """Give the keys of all alive entries."""
        keys = self._keys.read(0, self.size)
        return self._on_host(keys if self._alive is None else keys[self._alive_in((0, self.size))])

    def split(self, piece: tuple[int, int], low: int, high: int, kept: Bits) -> Split:
        """Write the piece's bits and look into the bracket."""
        keys = self._keys.read(*piece)
        at_least = self._restrict(keys >= low - self._keys.offset, piece)
        bits = pack_bits(at_least)
        kept[piece[0] // 8 : (piece[1] + 7) // 8] = bits
        has_nan = self._has_nan(keys, piece)
        inside = at_least.logical_and_(keys <= high - self._keys.offset)
        if low == high:
            return Split(count_bits(bits), int(inside.sum()), None, None, has_nan)
        positions = inside.nonzero().view(-1)
        places: Integers = positions.to(torch.int32).cpu().numpy().view(np.uint32)
        return Split(count_bits(bits), len(places), places, self._on_host(keys[positions]), has_nan)

    def largest(self, piece: tuple[int, int]) -> int:
        """Give the largest key of the piece's alive entries; 0 if there are none."""
        keys = self._keys.read(*piece)
        if self._alive is not None:
            keys = keys[self._alive_in(piece)]
        return int(keys.max()) + self._keys.offset if keys.numel() else 0

    def drop(self, begin: int, positions: Integers, kept: Bits) -> None:
        """Clear the bits of entries at `positions` from `begin`."""
        places = torch.from_numpy(positions.astype(np.int64)).to(kept.device)
        one = torch.ones((), dtype=torch.uint8, device=kept.device)
        # Every position once, and its bit set before: subtracting clears it, whichever comes first.
        kept[begin // 8 :].index_add_(0, places >> 3, one << (places & 7).to(torch.uint8), alpha=-1)

    def drop_equal(self, piece: tuple[int, int], key: int, count: int, kept: Bits) -> None:
        """Clear the bits of the first `count` alive entries of a piece that have this key."""
        equal = self._restrict(self._keys.read(*piece) == key - self._keys.offset, piece)
        falls = equal & (equal.cumsum(0) <= count)
        kept[piece[0] // 8 : (piece[1] + 7) // 8] &= ~pack_bits(falls)

    def is_nan(self, key: int) -> bool:
        """Whether a key stands for NaN."""
        return self._keys.largest_number is not None and key > self._keys.largest_number

    def _alive_in(self, piece: tuple[int, int]) -> torch.Tensor:
        assert self._alive is not None  # noqa: S101 - asked by the callers
        begin, end = piece
        return unpack_bits(self._alive[begin // 8 : (end + 7) // 8], end - begin)

    def _restrict(self, flags: torch.Tensor, piece: tuple[int, int]) -> torch.Tensor:
        return flags if self._alive is None else flags.logical_and_(self._alive_in(piece))

    def _has_nan(self, keys: torch.Tensor, piece: tuple[int, int]) -> bool:
        if self._keys.largest_number is None:
            return False
        return bool(self._restrict(keys > self._keys.largest_number, piece).any())

    def _on_host(self, keys: torch.Tensor) -> Integers:
        host: Integers = keys.to(torch.int64).cpu().numpy().view(np.uint64)
        return host ^ np.uint64(self._keys.offset) if self._keys.offset else host


def _signed(value: int) -> int:
    """Read the low 64 bits of a number as int64."""
    return (value + _TOP_BIT) % (2 * _TOP_BIT) - _TOP_BIT
