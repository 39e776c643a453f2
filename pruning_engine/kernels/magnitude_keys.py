"""Importance as integers: keys whose order is the order of magnitude, exactly, in every dtype.

The bits of a float without its sign, read as an integer, are in the order of its magnitude; so keys cost one `and`
and no rounding. Integers rank by their absolute value. Tensors of one dtype are compared as they are. Tensors of
several are compared by value, in fp32 if all are floats that fp32 holds exactly, else in fp64, where integers
beyond 2^53 are rounded first.

Only the meaning of keys is defined here; the arithmetic over arrays is the backends'.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import PRUNABLE, element_bits, is_float
from pruning_engine.kernels.small_floats import fp8_values, widened

NATIVE: Final = PRUNABLE
"""Dtypes whose bits can be keys as they are."""

_LARGEST_NUMBER: Final[Mapping[str, int]] = MappingProxyType(
    {
        "F64": 0x7FF0_0000_0000_0000,
        "F32": 0x7F80_0000,
        "F16": 0x7C00,
        "BF16": 0x7F80,
        "F8_E4M3": 0x7E,
        "F8_E5M2": 0x7C,
    }
)
"""The key of the largest number of a float dtype, infinity where it has one. Larger keys are NaN."""


def domain_of(dtypes: Iterable[str]) -> str:
    """Return the dtype in which tensors of these dtypes are compared."""
    kinds = set(dtypes)
    if len(kinds) == 1 and kinds <= NATIVE:
        return kinds.pop()
    return "F32" if all(is_float(kind) and kind != "F64" for kind in kinds) else "F64"


def magnitude_bits(domain: str) -> int:
    """Return the bits of a float that make its magnitude: all but the sign."""
    return int(2 ** (element_bits(domain) - 1)) - 1


def highest_key(domain: str) -> int:
    """Return a key no smaller than any of this dtype."""
    return magnitude_bits(domain) if is_float(domain) else int(2 ** element_bits(domain)) - 1


def largest_number(domain: str) -> int | None:
    """Return the largest key that is not NaN; None if the dtype has no NaN."""
    return _LARGEST_NUMBER.get(domain)


def magnitude_of(key: int, domain: str) -> float:
    """Return the magnitude of entries that have this key."""
    return float(key) if not is_float(domain) else float(magnitudes_of(np.array([key], np.uint64), domain)[0])


def magnitudes_of(keys: npt.NDArray[Any], domain: str) -> npt.NDArray[np.float64]:
    """Return the magnitudes of entries that have these keys, of any unsigned width."""
    width = element_bits(domain) // 8
    if not is_float(domain):
        return keys.astype(np.float64)
    if domain == "BF16":
        floats = widened(keys.astype(np.uint16), np.empty(len(keys), np.uint32))
    elif width == 1:
        floats = fp8_values(domain)[keys.astype(np.intp)]
    else:
        floats = keys.astype(f"u{width}").view(f"f{width}")
    with np.errstate(invalid="ignore"):  # numpy reports signaling NaN, on some processors
        return floats.astype(np.float64)
