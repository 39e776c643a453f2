"""The numbers that a tensor's bytes are, with numpy, which is imported with this module."""

from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_PLAIN: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "C64": "<c8",
    "BOOL": "u1",
    **{f"{sign}{bits}": f"<{sign.lower()}{bits // 8}" for sign in "IU" for bits in (8, 16, 32, 64)},
}
"""Dtypes that numpy has."""

_NARROW: Final = {
    "F8_E4M3": (4, 7, "one NaN"),
    "F8_E5M2": (5, 15, "IEEE"),
    "F8_E4M3FNUZ": (4, 8, "minus zero is NaN"),
    "F8_E5M2FNUZ": (5, 16, "minus zero is NaN"),
}
"""Floats of 8 bits with a sign: the bits of the exponent, its bias, and which codes are not numbers."""

_SCALE: Final = "F8_E8M0"
"""Powers of two from 2^-127; 255 is NaN."""


def is_known(dtype: str) -> bool:
    """Whether `numbers` knows a dtype: all but those of 4 and 6 bits."""
    return dtype in _PLAIN or dtype in _NARROW or dtype in ("BF16", _SCALE)


def numbers(dtype: str, data: memoryview) -> Array:
    """Return the entries of a known dtype as floats that hold them; 64-bit integers are rounded to fp64."""
    if dtype in _PLAIN:
        plain = np.frombuffer(data, _PLAIN[dtype])
        return plain if plain.dtype.kind in "fc" and plain.dtype.itemsize > 2 else plain.astype(np.float64)
    if dtype == "BF16":
        wide = np.zeros((len(data) // 2, 2), "<u2")
        wide[:, 1] = np.frombuffer(data, "<u2")
        return wide.reshape(-1).view("<f4")
    found: Array = _table(dtype)[np.frombuffer(data, np.uint8)]
    return found


@cache
def _table(dtype: str) -> Array:
    codes = np.arange(256)
    if dtype == _SCALE:
        powers: Array = np.ldexp(1.0, codes - 127)
        powers[255] = np.nan
        return powers
    exponent_bits, bias, special = _NARROW[dtype]
    fraction_bits = 7 - exponent_bits
    exponents = (codes >> fraction_bits) & ((1 << exponent_bits) - 1)
    fractions = (codes & ((1 << fraction_bits) - 1)) / (1 << fraction_bits)
    is_normal = exponents > 0
    values: Array = np.ldexp(fractions + is_normal, np.where(is_normal, exponents, 1) - bias)
    if special == "one NaN":
        values[0x7F::0x80] = np.nan
    elif special == "IEEE":
        values[exponents == exponents.max()] = np.nan
        values[0x7C::0x80] = np.inf
    values[128:] *= -1
    if special == "minus zero is NaN":
        values[0x80] = np.nan
    return values
