"""Buffers as numpy arrays, without a copy: their bits as integers, packed bits, and their entries as numbers."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.dtypes import is_float
from pruning_engine.kernels.backend import RUN_ENTRIES, BoolArray, Integers
from pruning_engine.kernels.cpu.scales import Scales
from pruning_engine.kernels.packed_mask import packed_slice
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.kernels.small_floats import fp8_values, widened

Values: TypeAlias = Buffer | ScaledWeights
"""What is ranked: the numbers of a flat buffer, or those of codes with scales."""


def raw_integers(tensor: Buffer) -> Integers:
    """View the entries' bits as unsigned integers, whatever the dtype."""
    return tensor.array.view(f"u{tensor.array.dtype.itemsize}")


def count_ones(packed: npt.NDArray[np.uint8]) -> int:
    """Count the ones of packed bits."""
    even = len(packed) // 8 * 8
    wide = packed[:even].view(np.uint64) if packed.ctypes.data % 8 == 0 else packed[:even]
    return int(np.bitwise_count(wide).sum(dtype=np.int64)) + int(np.bitwise_count(packed[even:]).sum(dtype=np.int64))


def nth_least(keys: Integers, rank: int) -> tuple[int, int]:
    """Return the key of a rank, from 0, and how many equal ones are of smaller rank."""
    key = np.partition(keys, rank)[rank]
    return int(key), rank - int(np.count_nonzero(keys < key))


def unpacked(packed: npt.NDArray[np.uint8], entries: int) -> BoolArray:
    """Return the first `entries` packed bits as bools."""
    return np.unpackbits(packed, count=entries, bitorder="little").view(np.bool_)


def unpacked_from(packed: npt.NDArray[np.uint8], begin: int, end: int) -> BoolArray:
    """Return the packed bits from `begin` to `end` as bools."""
    before = begin % 8
    return unpacked(packed[packed_slice(begin, end)], before + end - begin)[before:]


def bits_at(packed: npt.NDArray[np.uint8], positions: Integers) -> BoolArray:
    """Return the packed bits at `positions` as bools."""
    bits: BoolArray = (packed[positions >> 3] >> (positions & 7).astype(np.uint8) & 1).view(np.bool_)
    return bits


def take_runs(array: npt.NDArray[Any], numbers: Integers, length: int = RUN_ENTRIES) -> npt.NDArray[Any]:
    """Return copies of whole runs of a flat array, one after the other."""
    whole = len(array) // length
    return np.take(array[: whole * length].reshape(whole, length), numbers, axis=0).reshape(-1)


def pieces(entries: int, step: int) -> list[tuple[int, int]]:
    """Cut a number of entries into pieces of `step`, a multiple of 8."""
    return [(begin, min(begin + step, entries)) for begin in range(0, entries, step)]


def numbers_of(tensor: Buffer, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the entries of a small flat buffer as float32 or float64, rounded where these do not hold them."""
    with np.errstate(all="ignore"):
        return NumberReader(tensor, dtype).read(0, tensor.entries)


class NumberReader:
    """Reads pieces of a flat buffer of any real dtype as float32 or float64, exactly where they hold it.

    Scaled weights are read as their values: code times scale.
    """

    def __init__(self, weights: Values, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        flat: Buffer = weights.codes if isinstance(weights, ScaledWeights) else weights
        self._scales = Scales(weights) if isinstance(weights, ScaledWeights) else None
        self._is_bfloat16 = flat.dtype == "BF16"
        self._table = _values_of_bytes(flat.dtype, self.dtype) if flat.array.dtype.itemsize == 1 else None
        self._source = flat.array if self._table is None else raw_integers(flat)

    def read(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Return the numbers from `begin` to `end`; they may be overwritten."""
        out = np.empty(end - begin, self.dtype)
        self._read(self._source[begin:end], out)
        if self._scales is not None:
            self._scales.multiply_run_(out, begin)
        return out

    def runs(self, numbers: Integers) -> npt.NDArray[Any]:
        """Return the numbers of whole runs."""
        if self._scales is not None:
            return self.at((numbers[:, None] * RUN_ENTRIES + np.arange(RUN_ENTRIES)).reshape(-1))
        source = take_runs(self._source, numbers)
        out = np.empty(len(source), self.dtype)
        self._read(source, out)
        return out

    def at(self, positions: Integers) -> npt.NDArray[Any]:
        """Return the numbers at `positions`."""
        out = np.empty(len(positions), self.dtype)
        self._read(self._source[positions], out)
        if self._scales is not None:
            self._scales.multiply_(out, positions)
        return out

    def _read(self, source: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        if self._table is not None:
            np.take(self._table, source, out=out, mode="clip")
        elif self._is_bfloat16:
            np.copyto(out, widened(source, np.empty(len(source), np.uint32)))
        else:
            np.copyto(out, source, casting="unsafe")


def _values_of_bytes(dtype: str, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the number of each byte of a one-byte dtype; a bool is read as its byte, so that a 2 is not read as 1."""
    if is_float(dtype):
        return fp8_values(dtype).astype(kind)
    return np.arange(256, dtype=np.uint8).view(np.int8 if dtype == "I8" else np.uint8).astype(kind)
