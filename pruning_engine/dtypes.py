"""Dtypes: the safetensors names, torch's dtypes, and which of them can be pruned.

Everything that decides by a dtype decides by a name in this table. torch dtypes that the format has no name for
(complex128, quantized ones) go by torch's own name, so that they can pass through a state dict unselected.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch

TORCH_DTYPES: Final[Mapping[str, torch.dtype | None]] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "F4": None,  # torch counts two of them as one element
        "F6_E2M3": None,
        "F6_E3M2": None,
        "U8": torch.uint8,
        "I8": torch.int8,
        "F8_E5M2": torch.float8_e5m2,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E8M0": torch.float8_e8m0fnu,
        "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
        "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
        "I16": torch.int16,
        "U16": torch.uint16,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I32": torch.int32,
        "U32": torch.uint32,
        "F32": torch.float32,
        "C64": torch.complex64,
        "F64": torch.float64,
        "I64": torch.int64,
        "U64": torch.uint64,
    }
)
"""torch's dtype for each of the format's names; None where torch has none."""

FLOATING: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Floating point dtypes that can be pruned. The other 8-bit ones lack a zero of the usual form."""

INTEGERS: Final = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"})
"""Integer dtypes. They can be pruned too, where a rule names the tensor."""

PRUNABLE: Final = FLOATING | INTEGERS
"""Every dtype that can be pruned."""

REAL: Final = frozenset(name for name, dtype in TORCH_DTYPES.items() if dtype is not None and name != "C64")
"""Dtypes that scores and masks may have: bool, and all numbers with one part that torch can read."""

_PACKED_BITS: Final = MappingProxyType({"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6})
_NAMES: Final = MappingProxyType({dtype: name for name, dtype in TORCH_DTYPES.items() if dtype is not None})


def name_of(dtype: torch.dtype) -> str:
    """Give the format's name of a torch dtype, or torch's own if the format has none."""
    return _NAMES.get(dtype) or str(dtype).removeprefix("torch.")


def element_bits(name: str) -> int:
    """Give the bits of one element. Raises: KeyError for a name that is neither the format's nor torch's."""
    if name in _PACKED_BITS:
        return _PACKED_BITS[name]
    dtype = TORCH_DTYPES.get(name) or getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise KeyError(f"unknown dtype {name!r}")
    return dtype.itemsize * 8
