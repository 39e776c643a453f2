"""CPU tensors as numpy arrays, without a copy.

numpy knows no bfloat16 and no 8-bit floats, so floats go by as the unsigned integers of their bits; `NumberReader`
reads them as numbers, piece by piece.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.kernels.backend import RUN_ENTRIES, Bits, BoolArray, Integers
from pruning_engine.runtime.scratch_buffers import buffer

_INTEGERS: Final = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def raw(flat: torch.Tensor) -> npt.NDArray[Any]:
    """See a flat CPU tensor as an array: integers and bools as they are, floats as the integers of their bits."""
    flat = flat.detach()
    if flat.dtype.is_floating_point:
        return flat.view(_INTEGERS[flat.dtype.itemsize]).numpy()
    return flat.numpy()


def raw_integers(flat: torch.Tensor) -> Integers:
    """See the bits of a flat CPU tensor as unsigned integers, whatever its dtype."""
    array = raw(flat)
    return array.view(f"u{array.dtype.itemsize}")


def bit_array(bits: Bits) -> npt.NDArray[np.uint8]:
    """See a packed mask as an array."""
    return bits.numpy()


def count_ones(packed: npt.NDArray[np.uint8]) -> int:
    """Count the ones of packed bits."""
    even = len(packed) // 8 * 8
    wide = packed[:even].view(np.uint64) if packed.ctypes.data % 8 == 0 else packed[:even]
    return int(np.bitwise_count(wide).sum(dtype=np.int64)) + int(np.bitwise_count(packed[even:]).sum(dtype=np.int64))


def unpacked(packed: npt.NDArray[np.uint8], entries: int) -> BoolArray:
    """Give the first so many packed bits as bools."""
    return np.unpackbits(packed, count=entries, bitorder="little").view(np.bool_)


def are_alive(packed: npt.NDArray[np.uint8], positions: Integers) -> BoolArray:
    """Give the packed bits at `positions` as bools."""
    bits: BoolArray = (packed[positions >> 3] >> (positions & 7).astype(np.uint8) & 1).view(np.bool_)
    return bits


def take_runs(array: npt.NDArray[Any], numbers: Integers, length: int = RUN_ENTRIES) -> npt.NDArray[Any]:
    """Give copies of whole runs of a flat array, one after the other."""
    whole = len(array) // length
    return np.take(array[: whole * length].reshape(whole, length), numbers, axis=0).reshape(-1)


def pieces(entries: int, step: int) -> list[tuple[int, int]]:
    """Cut so many entries into pieces of `step`, a multiple of 8."""
    return [(begin, min(begin + step, entries)) for begin in range(0, entries, step)]


class NumberReader:
    """Reads pieces of a flat CPU tensor of any real dtype as float32 or float64, exactly where they hold it."""

    def __init__(self, flat: torch.Tensor, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._raw = raw(flat)
        self._kind = flat.dtype
        self._table: npt.NDArray[Any] | None = None
        if flat.dtype.itemsize == 1:
            # A bool is read as its byte, so that a file's bool of 2 is seen as what it is.
            kind = torch.uint8 if flat.dtype is torch.bool else flat.dtype
            self._table = (
                torch.arange(256, dtype=torch.uint8, device="cpu")
                .view(kind)
                .to(torch.float32)
                .numpy()
                .astype(self.dtype)
            )
            self._raw = self._raw.view(np.uint8)

    def read(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Give the numbers from `begin` to `end` in a buffer."""
        out = buffer("numbers", self.dtype, end - begin)
        self._read(self._raw[begin:end], out)
        return out

    def runs(self, numbers: Integers) -> npt.NDArray[Any]:
        """Give the numbers of whole runs."""
        source = take_runs(self._raw, numbers)
        out = np.empty(len(source), self.dtype)
        self._read(source, out)
        return out

    def at(self, positions: Integers) -> npt.NDArray[Any]:
        """Give the numbers at `positions`."""
        out = np.empty(len(positions), self.dtype)
        self._read(self._raw[positions], out)
        return out

    def _read(self, source: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        if self._table is not None:
            np.take(self._table, source, out=out, mode="clip")
        elif self._kind is torch.bfloat16:
            bits = buffer("bfloat16", np.uint32, len(source))
            np.left_shift(source, 16, out=bits, dtype=np.uint32)
            np.copyto(out, bits.view(np.float32))
        elif self._kind.is_floating_point:
            np.copyto(out, source.view(f"f{self._kind.itemsize}"))
        else:
            np.copyto(out, source, casting="unsafe")
