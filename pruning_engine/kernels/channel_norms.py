"""Norms of channels: what ranks them, and the exact order near the cut.

A channel of norm p is ranked by its power sum: the fp64 sum of |x|^p, each term rounded as IEEE does for a product
or a square root. The root that makes it a norm changes no order, and is taken only for reports. Sums of fp64 in
different orders differ in the last bits, so channels close to the cut are summed again, exactly and rounded once;
then their order is the same on every device and for any number of threads.

Norms of other p, and the nuclear norm, are ranked as fp64 has them: not reproducible to the last bit.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import inf
from types import MappingProxyType
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import Floats
from pruning_engine.norm import SUMMED_POWERS, NamedNorm, Norm, power_of

ROUNDED_POWERS: Final = SUMMED_POWERS - {0.0}
"""Powers whose sums are rounded."""


def terms_in_place(magnitudes: Floats, power: float) -> Floats:
    """Turn magnitudes into the terms that are summed; of an infinite power, into what its extreme is of."""
    if power == 1.0 or abs(power) == inf:
        return magnitudes
    make = _TERMS.get(power)
    return make(magnitudes) if make is not None else np.power(magnitudes, power, out=magnitudes)


def _nonzero(magnitudes: Floats) -> Floats:
    nan = np.isnan(magnitudes)
    np.not_equal(magnitudes, 0.0, out=magnitudes, casting="unsafe")
    magnitudes[nan] = math.nan  # which is neither zero nor to be overlooked
    return magnitudes


def _cubes(magnitudes: Floats) -> Floats:
    return np.multiply(magnitudes * magnitudes, magnitudes, out=magnitudes)


def _squares(magnitudes: Floats) -> Floats:
    return np.multiply(magnitudes, magnitudes, out=magnitudes)


def _fourth_powers(magnitudes: Floats) -> Floats:
    return _squares(_squares(magnitudes))


def _roots(magnitudes: Floats) -> Floats:
    return np.sqrt(magnitudes, out=magnitudes)


_TERMS: Final[Mapping[float, Callable[[Floats], Floats]]] = MappingProxyType(
    {0.0: _nonzero, 0.5: _roots, 2.0: _squares, 3.0: _cubes, 4.0: _fourth_powers}
)
"""How each power is formed, of operations that IEEE rounds alike everywhere; `pow` is not among them."""


def finish(sums: Floats, norm: Norm) -> Floats:
    """Turn sums into what ranks channels: themselves, or the norm for other powers, which may turn the order around."""
    power = power_of(norm)
    if power in SUMMED_POWERS or abs(power) == inf:
        return sums
    with np.errstate(all="ignore"):
        result: Floats = np.power(sums, 1.0 / power)
    return result


def norm_of(rank: float, norm: Norm) -> float:
    """Return the norm of a channel whose ranking number is `rank`."""
    power = power_of(norm)
    if norm is NamedNorm.NUC or power not in SUMMED_POWERS or power == 0.0:
        return rank
    return math.sqrt(rank) if power == 2.0 else rank ** (1.0 / power)


def exact_sums(magnitudes: Floats, norm: Norm) -> Floats:
    """Return the sum of the terms of each row, exact and rounded once; infinity if it is beyond fp64."""
    return rounded_once([exact_parts(magnitudes, norm)])


def rounded_once(parts: Sequence[Floats]) -> Floats:
    """Return the sum of each row of several arrays together, exact and rounded once; infinity if it is beyond fp64."""
    return np.array([_fsum(chain.from_iterable(row)) for row in zip(*parts, strict=True)])


def exact_parts(magnitudes: Floats, norm: Norm) -> Floats:
    """Return a few numbers for each row, whose sum is exactly the sum of its terms.

    As `math.fsum` does, but row by row at once: each turn cuts the leading bits off all terms on a common grid, so
    coarse that their sum is exact in any order, until nothing is left. Terms near the end of the range, where the
    grid would be beyond it, are returned as they are.

    Source: Rump, Ogita, Oishi, "Accurate floating-point summation part I", SIAM J. Sci. Comput. 31(1), 2008,
    algorithm 3.4 (ExtractVector).
    """
    with np.errstate(all="ignore"):
        terms = terms_in_place(magnitudes, power_of(norm))
    largest = terms.max(axis=1, initial=0.0)
    headroom = 2 + max(1, terms.shape[1]).bit_length()
    if float(largest.max(initial=0.0)) >= 2.0 ** (1022 - headroom):
        return terms
    parts = [np.zeros(len(terms))]
    while largest.any():
        grid = np.ldexp(1.0, np.frexp(largest)[1] + headroom)[:, None]
        leading = (grid + terms) - grid
        parts.append(leading.sum(axis=1))
        terms -= leading
        largest = np.abs(terms).max(axis=1)
    return np.stack(parts, axis=1)


def _fsum(terms: Iterable[float]) -> float:
    try:
        return math.fsum(terms)
    except OverflowError:
        return inf
