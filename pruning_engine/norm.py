"""Norms that rank channels: p of a vector norm, or a norm by name. Imports no tensor library."""

from enum import StrEnum
from math import inf
from typing import Final, TypeAlias


class NamedNorm(StrEnum):
    """Norms that have a name and no p, as torch calls them."""

    FRO = "fro"
    NUC = "nuc"


Norm: TypeAlias = float | NamedNorm
"""p of a vector norm (also 0, inf and -inf), or a norm by name."""

DEFAULT_NORM: Final[Norm] = 2.0

SUMMED_POWERS: Final = frozenset({0.0, 0.5, 1.0, 2.0, 3.0, 4.0})
"""Powers whose terms are products or square roots, which IEEE rounds alike everywhere; channels rank by their sums."""


def power_of(norm: Norm) -> float:
    """Return p of a vector norm; 2 for Frobenius, which is the same for the entries of one channel."""
    return 2.0 if isinstance(norm, NamedNorm) else float(norm)


def is_reproducible(norm: Norm) -> bool:
    """Whether channels rank the same by this norm on every device."""
    return norm is not NamedNorm.NUC and (power_of(norm) in SUMMED_POWERS or abs(power_of(norm)) == inf)
