"""An order of tensors in which each begins at a multiple of its dtype's size.

The format allows any order and no holes, so that one tensor of an odd number of bytes shifts all that follow. Readers
that map a file into memory then refuse or copy those. Only the order can align them: tensors of odd sizes come last.
"""

from collections.abc import Sequence
from typing import Final

from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.safetensors.header import TensorEntry

_SIZES: Final = {dtype: bits // 8 for dtype, bits in DTYPE_BITS.items()}
"""Bytes of one element; 0 where that is no whole number, for such tensors may begin anywhere."""


def postponed(tensors: Sequence[tuple[str, int]]) -> list[int]:
    """Return the positions of the tensors that must come last, in their order, so that all are aligned.

    All others keep their order. Each tensor is given as its dtype and its number of bytes; none is postponed if all
    are aligned already.
    """
    if _is_aligned(tensors):
        return []
    largest = max(_SIZES[dtype] for dtype, _ in tensors)
    by_size: dict[int, list[int]] = {8: [], 4: [], 2: [], 1: [], 0: []}
    for position, (dtype, nbytes) in enumerate(tensors):
        if nbytes % largest:
            by_size[_SIZES[dtype]].append(position)
    return [position for positions in by_size.values() for position in positions]


def aligned(entries: Sequence[TensorEntry]) -> list[TensorEntry]:
    """Return the tensors of a file in an order in which all are aligned; their offsets are those of the file."""
    last = postponed([(entry.dtype, entry.end - entry.begin) for entry in entries])
    held = set(last)
    return [*(entry for position, entry in enumerate(entries) if position not in held), *(entries[at] for at in last)]


def _is_aligned(tensors: Sequence[tuple[str, int]]) -> bool:
    begin = 0
    for dtype, nbytes in tensors:
        size = _SIZES[dtype]
        if size > 1 and begin % size:
            return False
        begin += nbytes
    return True
