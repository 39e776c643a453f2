"""Dtypes by their safetensors names: the width of one element, and which of them can be pruned.

Everything that decides by a dtype decides by a name in this table. torch dtypes that safetensors has no name for
(complex128, quantized ones) have torch's own name, so that they can pass through a state dict unselected. What torch
calls each dtype is in `torch_tensors.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pruning_proto.safetensors.dtypes import DTYPE_BITS

FLOATING: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Floating point dtypes that can be pruned. The other 8-bit ones lack a zero whose bits are all zero."""

INTEGERS: Final = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"})
"""Integer dtypes. They can be pruned too, where a rule names the tensor."""

PRUNABLE: Final = FLOATING | INTEGERS
"""Every dtype that can be pruned."""

REAL_FLOATS: Final = FLOATING | {"F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
"""Floating point dtypes of at least one byte and one part, which can be read as numbers."""

REAL: Final = REAL_FLOATS | INTEGERS | {"BOOL"}
"""Dtypes that scores and masks may have: bool, and all numbers with one part that can be read."""

_TORCH_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "complex32": 32,
        "bcomplex32": 32,  # torch 2.14
        "complex128": 128,
        "float4_e2m1fn_x2": 8,
        "qint8": 8,
        "quint8": 8,
        "qint32": 32,
        "quint4x2": 8,
        "quint2x4": 8,
        "bits1x8": 8,
        "bits2x4": 8,
        "bits4x2": 8,
        "bits8": 8,
        "bits16": 16,
        **{f"{kind}{bits}": 8 for kind in ("int", "uint") for bits in range(1, 8)},
    }
)
"""Bits of one element as torch stores it, for dtypes that only torch has a name for."""


def element_bits(name: str) -> int:
    """Return the bits of one element. Raises: KeyError for a name that neither safetensors nor torch has."""
    bits = DTYPE_BITS.get(name) or _TORCH_BITS.get(name)
    if bits is None:
        raise KeyError(f"unknown dtype {name!r}; known: {', '.join([*DTYPE_BITS, *_TORCH_BITS])}")
    return bits


def is_float(name: str) -> bool:
    """Whether a dtype is a real floating point one that can be read as numbers."""
    return name in REAL_FLOATS


def tensor_bytes(name: str, entries: int) -> int:
    """Return the bytes of a tensor's entries, without gaps. Raises: KeyError for an unknown dtype."""
    return (entries * element_bits(name) + 7) // 8


def packed_bytes(entries: int) -> int:
    """Return the bytes of a mask of one bit per entry."""
    return (entries + 7) // 8
