"""One pass over a piece of a tensor's keys: `split_*` of kernels.c."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.backend import Integers, Split
from pruning_engine.kernels.compiled.library import Bracket, Found, Kernels, address
from pruning_engine.kernels.compiled.scratch import scratch_arrays
from pruning_engine.kernels.cpu.keys import FloatKeys, Keys, RandomKeys
from pruning_engine.kernels.random_keys import MASK64

Packed = npt.NDArray[np.uint8]

_PART: Final = 16
"""Buffers first have space for one entry in this many inside a bracket; more are rarely found."""


class PieceSplit(Protocol):
    """Splits pieces at brackets: `Candidates.split`, on the packed bits of the piece."""

    def __call__(self, piece: tuple[int, int], low: int, high: int, mask: Packed | None, kept: Packed) -> Split:
        """Write `kept`, and look into the bracket. `mask`: the prior mask of the piece, if it has one."""
        ...


class KeySplit:
    """Keys are read from memory: see `keys_between`."""

    def __init__(self, kernels: Kernels, keys: Keys) -> None:
        self._kernels = kernels
        self._keys = keys

    def __call__(self, piece: tuple[int, int], low: int, high: int, mask: Packed | None, kept: Packed) -> Split:
        """Split one piece."""
        begin, end = piece
        entries, magnitude = keys_between(self._keys, begin, end)
        bracket = Bracket(low, high, largest_number_of(self._keys))
        split = partial(
            self._kernels.function(f"split_{entries.itemsize * 8}"),
            *(address(entries), end - begin, magnitude, ctypes.addressof(bracket), address(mask), address(kept)),
        )
        return _collected(split, end - begin, bracket, entries.dtype)


class RandomSplit:
    """Keys are random scores of the index."""

    def __init__(self, kernels: Kernels, keys: RandomKeys) -> None:
        self._start = keys.start
        self._split = kernels.function("split_random")

    def __call__(self, piece: tuple[int, int], low: int, high: int, mask: Packed | None, kept: Packed) -> Split:
        """Split one piece."""
        begin, end = piece
        bracket = Bracket(low, high, MASK64)
        split = partial(
            self._split,
            *(self._start(begin), end - begin, ctypes.addressof(bracket), address(mask), address(kept)),
        )
        return _collected(split, end - begin, bracket, np.dtype(np.uint64))


def _collected(split: Callable[..., object], entries: int, bracket: Bracket, dtype: np.dtype[Any]) -> Split:
    """Split entries, with room for what is inside a bracket; of a single key entries are counted only."""
    found = Found()
    if bracket.low == bracket.high:
        split(None, None, 0, ctypes.addressof(found))
        return Split(found.kept, found.inside, None, None, bool(found.has_nan))
    room = entries // _PART + 1
    while True:
        with scratch_arrays(room, np.dtype(np.uint32), dtype) as (positions, keys):
            split(address(positions), address(keys), room, ctypes.addressof(found))
            count = found.inside
            if count <= room:
                return Split(found.kept, count, positions[:count].copy(), keys[:count].copy(), bool(found.has_nan))
        room = count


def keys_between(keys: Keys, begin: int, end: int) -> tuple[Integers, int]:
    """Return contiguous entries, and which of their bits are the key: the floats themselves where these are keys."""
    if isinstance(keys, FloatKeys) and keys.bits.flags.c_contiguous:
        return keys.bits[begin:end], int(keys.magnitude)
    entries = keys.read(begin, end)
    return entries, int(np.iinfo(entries.dtype).max)


def largest_number_of(keys: Keys) -> int:
    """Return the largest key that is not NaN, as kernels.c takes it."""
    return MASK64 if keys.largest_number is None else keys.largest_number
