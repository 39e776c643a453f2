"""New numbers as the entries of a weight: rounded once, to the nearest value of its dtype, halves to even.

A number beyond the largest finite value of the dtype becomes that value: a weight that overflowed to infinity would
make every output NaN.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.kernels.cpu.arrays import pieces, raw_integers
from pruning_engine.kernels.small_floats import fp8_values
from pruning_engine.runtime.threads import PIECE_ENTRIES

ROUNDED: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""The dtypes that numbers can be rounded to."""

_LARGEST_BFLOAT16: Final = np.array(0x7F7F_0000, np.uint32).view(np.float32)[()]
_SIGN: Final = 0x80


def write_rounded(numbers: npt.NDArray[Any], out: Buffer) -> None:
    """Write finite numbers, flat in fp32 or fp64, into a flat buffer of one of the ROUNDED dtypes."""
    for begin, end in pieces(len(numbers), PIECE_ENTRIES):
        raw_integers(out)[begin:end] = rounded(numbers[begin:end], out.dtype)


def rounded(numbers: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return the bits of the nearest values of a dtype, as unsigned integers."""
    match dtype:
        case "F64" | "F32" | "F16":
            carrier = CARRIERS[dtype]
            largest = numbers.dtype.type(min(np.finfo(carrier).max, np.finfo(numbers.dtype).max))
            bits: npt.NDArray[Any] = np.clip(numbers, -largest, largest).astype(carrier).view(f"u{carrier.itemsize}")
            return bits
        case "BF16":
            return _to_bfloat16(numbers)
        case _:
            return _to_fp8(numbers, dtype)


def _to_bfloat16(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Return the upper halves of float32, rounded to even by the lower ones."""
    bits = np.clip(numbers, -_LARGEST_BFLOAT16, _LARGEST_BFLOAT16).astype(np.float32).view(np.uint32)
    halves: npt.NDArray[np.uint16] = ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)
    return halves


def _to_fp8(numbers: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.uint8]:
    middles = _middles(dtype)
    magnitudes = np.abs(numbers).astype(np.float64)
    codes = np.searchsorted(middles, magnitudes)
    is_half = (codes < len(middles)) & (middles[np.minimum(codes, len(middles) - 1)] == magnitudes)
    codes += is_half & (codes % 2 == 1)
    result: npt.NDArray[np.uint8] = (codes | np.where(np.signbit(numbers), _SIGN, 0)).astype(np.uint8)
    return result


@cache
def _middles(dtype: str) -> npt.NDArray[np.float64]:
    """Return the numbers halfway between neighbours of a dtype's finite magnitudes; code i is below the i-th."""
    magnitudes = fp8_values(dtype)[:_SIGN].astype(np.float64)
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    middles: npt.NDArray[np.float64] = (magnitudes[:-1] + magnitudes[1:]) / 2
    return middles
