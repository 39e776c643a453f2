"""How the |w| of a tensor are distributed, with numpy, which is imported with this module.

Floats of one sign are in the order of their bits. So the upper bits of an entry, without its sign, are the number of
a bin: eight for each power of two, and finding it takes one shift.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pruning_client.models.magnitudes_value import Magnitudes
from pruning_client.models.numbers import numbers

_SHIFTS: Final = {"F64": 49, "F32": 20, "F16": 7, "BF16": 4, "F8_E4M3": 0, "F8_E5M2": 0}
"""By dtype, the bits below those of a bin: three bits of the fraction remain, where there are more."""

_WIDTHS: Final = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8}

DISTRIBUTED: Final = frozenset(_SHIFTS)
"""The dtypes whose magnitudes are counted."""

_BLOCK_BYTES: Final = 1 << 18


def magnitudes(dtype: str, pieces: Iterable[memoryview]) -> Magnitudes:
    """Return the distribution of a tensor of one of the dtypes `DISTRIBUTED`."""
    shift, width = _SHIFTS[dtype], _WIDTHS[dtype]
    bins = 1 << (width - 1 - shift)
    counts = np.zeros(bins, np.int64)
    zeros = 0
    for piece in pieces:
        for begin in range(0, len(piece), _BLOCK_BYTES):
            codes = np.frombuffer(piece[begin : begin + _BLOCK_BYTES], f"<u{width // 8}")
            codes = codes & np.array((1 << (width - 1)) - 1, codes.dtype)
            zeros += len(codes) - int(np.count_nonzero(codes))
            counts += np.bincount(codes >> np.array(shift, codes.dtype), minlength=bins)
    counts[0] -= zeros
    return _trimmed(counts, _edges(dtype), zeros, _least(dtype))


def _edges(dtype: str) -> NDArray[np.float64]:
    """Return the least number of each bin; infinite or NaN where a bin has no numbers."""
    bins = 1 << (_WIDTHS[dtype] - 1 - _SHIFTS[dtype])
    return _numbers_of(dtype, np.arange(bins, dtype=np.uint64) << np.uint64(_SHIFTS[dtype]))


def _least(dtype: str) -> float:
    """Return the least number above zero."""
    return float(_numbers_of(dtype, np.ones(1, np.uint64))[0])


def _numbers_of(dtype: str, codes: NDArray[np.uint64]) -> NDArray[np.float64]:
    data = memoryview(codes.astype(f"<u{_WIDTHS[dtype] // 8}").tobytes())
    with np.errstate(invalid="ignore"):
        return numbers(dtype, data).astype(np.float64)


def _trimmed(counts: NDArray[np.int64], edges: NDArray[np.float64], zeros: int, least: float) -> Magnitudes:
    finite = int(np.count_nonzero(np.isfinite(edges)))  # they come first
    filled = np.flatnonzero(counts[:finite])
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0)
    upper = edges[last] if last < finite else 2 * edges[finite - 1]
    lowest = least if first == 0 else edges[first]  # the bin that begins at zero has no zeros
    inner = edges[first + 1 : last]
    return Magnitudes(
        edges=tuple(float(edge) for edge in (lowest, *inner, upper)) if last else (),
        counts=tuple(map(int, counts[first:last])),
        zeros=zeros,
        non_finite=int(counts[finite:].sum()),
    )
