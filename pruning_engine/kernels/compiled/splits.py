"""One pass over a piece of a tensor's keys: `split_*` of kernels.c."""

import ctypes
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.backend import Integers, Split
from pruning_engine.kernels.compiled.library import Bracket, Found, Kernels, address
from pruning_engine.kernels.cpu.keys import FloatKeys, Keys, RandomKeys
from pruning_engine.kernels.random_keys import MASK64

Packed = npt.NDArray[np.uint8]


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
        positions, keys = _collected(low, high, end - begin, entries.dtype)
        found = Found()
        bracket = Bracket(low, high, largest_number_of(self._keys))
        self._kernels.function(f"split_{entries.itemsize * 8}")(
            *(address(entries), end - begin, magnitude, ctypes.addressof(bracket)),
            *(address(mask), address(kept), address(positions), address(keys), ctypes.addressof(found)),
        )
        return _split_of(found, positions, keys)


class RandomSplit:
    """Keys are random scores of the index."""

    def __init__(self, kernels: Kernels, keys: RandomKeys) -> None:
        self._start = keys.start
        self._split = kernels.function("split_random")

    def __call__(self, piece: tuple[int, int], low: int, high: int, mask: Packed | None, kept: Packed) -> Split:
        """Split one piece."""
        begin, end = piece
        positions, keys = _collected(low, high, end - begin, np.dtype(np.uint64))
        found = Found()
        bracket = Bracket(low, high, MASK64)
        self._split(
            *(self._start(begin), end - begin, ctypes.addressof(bracket), address(mask), address(kept)),
            *(address(positions), address(keys), ctypes.addressof(found)),
        )
        return _split_of(found, positions, keys)


def _collected(low: int, high: int, entries: int, dtype: np.dtype[Any]) -> tuple[Integers | None, Integers | None]:
    """Return scratch memory for what is inside a bracket; none for a single key, whose entries are counted only."""
    if low == high:
        return None, None
    return np.empty(entries, np.uint32), np.empty(entries, dtype)


def _split_of(found: Found, positions: Integers | None, keys: Integers | None) -> Split:
    if positions is None or keys is None:
        return Split(found.kept, found.inside, None, None, bool(found.has_nan))
    count = found.inside
    return Split(found.kept, count, positions[:count].copy(), keys[:count].copy(), bool(found.has_nan))


def keys_between(keys: Keys, begin: int, end: int) -> tuple[Integers, int]:
    """Return contiguous entries, and which of their bits are the key: the floats themselves where these are keys."""
    if isinstance(keys, FloatKeys) and keys.bits.flags.c_contiguous:
        return keys.bits[begin:end], int(keys.magnitude)
    entries = keys.read(begin, end)
    return entries, int(np.iinfo(entries.dtype).max)


def largest_number_of(keys: Keys) -> int:
    """Return the largest key that is not NaN, as kernels.c takes it."""
    return MASK64 if keys.largest_number is None else keys.largest_number
