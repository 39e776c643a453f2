"""Floats that numpy lacks, read exactly: bfloat16 by a shift, 8-bit floats from tables of their 256 values.

Source: OCP 8-bit Floating Point Specification (E4M3, E5M2), 2023; Noune et al., "8-bit Numerical Formats for Deep
Neural Networks", arXiv:2206.02915 (the FNUZ kinds); OCP Microscaling Formats, 2023 (E8M0).
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_MANTISSA_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {"F8_E4M3": 3, "F8_E4M3FNUZ": 3, "F8_E5M2": 2, "F8_E5M2FNUZ": 2}
)
_BIAS: Final[Mapping[str, int]] = MappingProxyType(
    {"F8_E4M3": 7, "F8_E4M3FNUZ": 8, "F8_E5M2": 15, "F8_E5M2FNUZ": 16, "F8_E8M0": 127}
)
_SIGN: Final = 0x80


def widened(bfloat16: npt.NDArray[np.uint16], out: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Return the numbers that bfloat16 bits stand for, computed in `out`: the upper halves of float32."""
    return np.left_shift(bfloat16, 16, out=out, dtype=np.uint32).view(np.float32)


@cache
def fp8_values(dtype: str) -> npt.NDArray[np.float32]:
    """Return the value of each of the 256 bytes of an 8-bit float dtype."""
    codes = np.arange(256)
    values = _powers(codes) if dtype == "F8_E8M0" else _numbers(codes, _MANTISSA_BITS[dtype], _BIAS[dtype])
    match dtype:
        case "F8_E4M3":
            values[codes & 0x7F == 0x7F] = np.nan
        case "F8_E5M2":
            values[codes & 0x7F == 0x7C] = np.inf
            values[_SIGN | 0x7C] = -np.inf
            values[codes & 0x7F > 0x7C] = np.nan
        case "F8_E8M0":
            values[0xFF] = np.nan
        case _:  # without a negative zero, whose code is the one NaN
            values[_SIGN] = np.nan
    values.flags.writeable = False
    return values


def _powers(codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ldexp(1.0, np.minimum(codes, 0xFE) - _BIAS["F8_E8M0"]).astype(np.float32)
    return values


def _numbers(codes: npt.NDArray[Any], mantissa_bits: int, bias: int) -> npt.NDArray[np.float32]:
    exponents, mantissas = (codes & 0x7F) >> mantissa_bits, codes & (1 << mantissa_bits) - 1
    is_normal = exponents > 0
    digits = np.where(is_normal, mantissas + (1 << mantissa_bits), mantissas)
    magnitudes = np.ldexp(digits.astype(np.float64), np.maximum(exponents, 1) - bias - mantissa_bits)
    values: npt.NDArray[np.float32] = np.where(codes & _SIGN, -magnitudes, magnitudes).astype(np.float32)
    return values
