"""Importance as integers: keys whose order is the order of magnitude, exactly, in every dtype.

The bits of a float without its sign, read as an integer, are in the order of its magnitude; so keys cost one `and`
and no rounding. Integers rank by their absolute value. Tensors of one dtype are compared as they are. Tensors of
several are compared by value, in fp32 if all are floats that fp32 holds exactly, else in fp64, where integers
beyond 2^53 are rounded first.

Only the meaning of keys lives here; the arithmetic over arrays is the backends'.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

import numpy as np
import torch

NATIVE: Final = frozenset(
    {
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    }
)
"""Dtypes whose bits can be keys as they are."""

_LARGEST_NUMBER: Final = MappingProxyType(
    {
        torch.float64: 0x7FF0_0000_0000_0000,
        torch.float32: 0x7F80_0000,
        torch.float16: 0x7C00,
        torch.bfloat16: 0x7F80,
        torch.float8_e4m3fn: 0x7E,
        torch.float8_e5m2: 0x7C,
    }
)
"""The key of the largest number of a float dtype, infinity where it has one. Larger keys are NaN."""

_MAGNITUDE_BITS: Final = MappingProxyType({1: 0x7F, 2: 0x7FFF, 4: 0x7FFF_FFFF, 8: 0x7FFF_FFFF_FFFF_FFFF})


def domain_of(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """Give the dtype in which tensors of these dtypes are compared."""
    kinds = set(dtypes)
    if len(kinds) == 1 and kinds <= NATIVE:
        return kinds.pop()
    narrow = all(kind.is_floating_point and kind is not torch.float64 for kind in kinds)
    return torch.float32 if narrow else torch.float64


def magnitude_bits(domain: torch.dtype) -> int:
    """Give the bits of a float that make its magnitude: all but the sign."""
    return _MAGNITUDE_BITS[domain.itemsize]


def highest_key(domain: torch.dtype) -> int:
    """Give a key no smaller than any of this dtype."""
    if domain.is_floating_point:
        return magnitude_bits(domain)
    return int(2 ** (8 * domain.itemsize)) - 1


def largest_number(domain: torch.dtype) -> int | None:
    """Give the largest key that is not NaN; None if the dtype has no NaN."""
    return _LARGEST_NUMBER.get(domain)


def magnitude_of(key: int, domain: torch.dtype) -> float:
    """Give the magnitude that a key stands for."""
    if not domain.is_floating_point:
        return float(key)
    bits = torch.from_numpy(np.array([key], dtype=f"u{domain.itemsize}"))
    return float(bits.view(domain).to(torch.float64))
