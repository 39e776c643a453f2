"""Random importance that any language can repeat: splitmix64 over a key and an index.

The key comes from (seed, position of the rule, logical name); docs/random.md defines it and gives golden values.
Only the definition lives here; the arithmetic over arrays is the backends'.

Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, and the constants of
Vigna's splitmix64 (variant 13 of Stafford's mixers).
"""

import hashlib
import struct
from typing import Final

GOLDEN: Final = 0x9E3779B97F4A7C15
"""The step of the sequence: 2^64 divided by the golden ratio, odd."""

MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None))
"""The finalizer: xor with itself shifted right by so much, then multiply by so much, three times."""

MASK64: Final = 2**64 - 1


def key_of(seed: int, position: int, name: str) -> int:
    """Return the 64-bit key of the tensor `name` under the rule at `position`."""
    text = struct.pack("<QI", seed, position) + name.encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def score(key: int, index: int) -> int:
    """Return the score of one entry (its flat index in C order) or channel (its index): 0 to 2^64 - 1."""
    value = (key + (index + 1) * GOLDEN) & MASK64
    for shift, factor in MIX:
        value ^= value >> shift
        if factor is not None:
            value = value * factor & MASK64
    return value
