"""The dtypes of the safetensors format: bits per element, and which of their bit patterns are zero.

Source: the safetensors format, https://huggingface.co/docs/safetensors, as of version 0.8.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

DTYPE_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
    }
)
"""Bits of one element by the format's name of its dtype."""

NEGATIVE_ZERO: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "F64": (64, 1 << 63),
        "F32": (32, 1 << 31),
        "F16": (16, 1 << 15),
        "BF16": (16, 1 << 15),
        "F8_E4M3": (8, 1 << 7),
        "F8_E5M2": (8, 1 << 7),
        "F4": (4, 1 << 3),
        "F6_E2M3": (6, 1 << 5),
        "F6_E3M2": (6, 1 << 5),
        "C64": (32, 1 << 31),
    }
)
"""Bits of one number and the pattern of its -0.0, by dtype; each part of a complex number is a number of its own.

The only zero of a dtype that is not here has no bit set, except where there is none (`WITHOUT_ZERO`).
"""

WITHOUT_ZERO: Final = "F8_E8M0"
"""The dtype whose bits of zeros are not zero, but 2^-127: nothing can be pruned in it."""
