"""Counts the entries of a tensor that are not zero, at the speed of memory where no mask is involved.

As signed integers, the smallest number is the bits of -0.0 and of nothing else. So one look at the minimum of a piece
says whether it has any; hardly ever does it have to be searched.
"""

from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.kernels.cpu.arrays import count_ones, pieces, raw_integers
from pruning_engine.kernels.packed_mask import PackedMask, packed_slice
from pruning_engine.runtime.threads import in_parallel
from pruning_proto.safetensors.dtypes import NEGATIVE_ZERO, WITHOUT_ZERO

_STEP: Final = 1 << 18
"""Entries of one piece: it is read twice, and so should stay in the cache."""

_COMPLEX: Final = "C64"


def can_count_zeros(dtype: str) -> bool:
    """Whether entries of a dtype are whole bytes, and so can be counted."""
    return dtype in CARRIERS


def count_nonzero(flat: Buffer, mask: PackedMask) -> int:
    """Count the entries that a mask keeps and that are not zero (NaN is not, -0.0 is). For `can_count_zeros` only."""
    count = partial(_count, flat) if mask.bits is None else partial(_count_kept, flat, mask.bits)
    return sum(in_parallel(count, pieces(flat.entries, _STEP)))


def _count(flat: Buffer, piece: tuple[int, int]) -> int:
    begin, end = piece
    if flat.dtype == WITHOUT_ZERO:
        return end - begin
    bits = raw_integers(flat)[begin:end]
    if flat.dtype not in NEGATIVE_ZERO:
        return int(np.count_nonzero(bits))
    if flat.dtype == _COMPLEX:
        return int(np.count_nonzero(_is_nonzero(flat, begin, end)))
    numbers = bits.view(f"i{bits.dtype.itemsize}")
    negative_zero = np.iinfo(numbers.dtype).min
    found = int(np.count_nonzero(numbers))
    return found if numbers.min() != negative_zero else found - int(np.count_nonzero(numbers == negative_zero))


def _count_kept(flat: Buffer, kept: npt.NDArray[np.uint8], piece: tuple[int, int]) -> int:
    packed = np.packbits(_is_nonzero(flat, *piece), bitorder="little")
    return count_ones(packed & kept[packed_slice(*piece)])


def _is_nonzero(flat: Buffer, begin: int, end: int) -> npt.NDArray[np.bool_]:
    bits = raw_integers(flat)[begin:end]
    if flat.dtype == WITHOUT_ZERO:
        return np.ones(end - begin, np.bool_)
    if flat.dtype in NEGATIVE_ZERO:
        width, sign = NEGATIVE_ZERO[flat.dtype]
        signs = sign << width | sign if flat.dtype == _COMPLEX else sign
        bits = bits & ~bits.dtype.type(signs)
    nonzero: npt.NDArray[np.bool_] = bits != 0
    return nonzero
