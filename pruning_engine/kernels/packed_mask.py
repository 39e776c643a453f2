"""Packed masks: which entries of a flat tensor are kept, one bit an entry.

Flat in C order, little bit order, 1 = kept, spare bits of the last byte 0. So a mask takes 1/32 of fp32 weights, is
combined eight entries at a time, and is what the wire carries. A mask that keeps every entry takes no memory.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import packed_bytes

Bits: TypeAlias = Any
"""Packed bits: a flat uint8 array of the backend that works on them, numpy's or torch's."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """A mask of `entries` entries. `bits` is None where every entry is kept."""

    entries: int
    bits: Bits | None

    @classmethod
    def full(cls, entries: int) -> "PackedMask":
        """Return a mask that keeps every entry."""
        return cls(entries, None)

    @property
    def is_full(self) -> bool:
        """Whether no entry is pruned, as far as that is known without counting."""
        return self.bits is None

    def restrict_(self, other: "PackedMask") -> "PackedMask":
        """Clear the bits of entries that `other` prunes, in this mask's memory; return the mask that results."""
        if other.bits is None:
            return self
        if self.bits is None:
            return other
        bits = self.bits
        bits &= other.bits
        return self

    def add_pruned_(self, other: "PackedMask") -> "PackedMask":
        """Set the bits of entries that `other` prunes, in this mask's memory; return the mask that results."""
        if self.bits is None or other.bits is None:
            return self
        bits = self.bits
        bits |= ~other.bits
        spare = spare_bits(self.entries)
        if spare:
            bits[-1] &= 0xFF >> spare
        return self

    def clear_(self) -> None:
        """Prune every entry, in this mask's memory."""
        if self.bits is not None:
            self.bits[:] = 0


def packed_slice(begin: int, end: int) -> slice:
    """Return where the bits of the entries from `begin` to `end` are; the first byte may begin before them."""
    return slice(begin // 8, packed_bytes(end))


def spare_bits(entries: int) -> int:
    """Return how many bits of the last byte belong to no entry; they are the highest ones."""
    return -entries % 8


def has_spare_bits_set(bits: Bits, entries: int) -> bool:
    """Whether bits that belong to no entry are set, which no mask may have."""
    spare = spare_bits(entries)
    return bool(spare and int(bits[-1]) >> (8 - spare))


def full_bits(entries: int) -> npt.NDArray[np.uint8]:
    """Return the bits of a mask that keeps every entry."""
    bits = np.full(packed_bytes(entries), 0xFF, np.uint8)
    if entries % 8:
        bits[-1] = 0xFF >> spare_bits(entries)
    return bits
