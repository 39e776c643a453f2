"""Magnitude: small weights are the least important."""

import math
from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.norm import NamedNorm, Norm, is_reproducible
from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class Magnitude(Score):
    """|w| of an entry; the norm of a channel over what is not pruned yet.

    `norm` is for channels only: None means p = 2.
    """

    field: ClassVar[str] = "magnitude"
    ranks: ClassVar[bool] = True
    ranks_alone: ClassVar[bool] = True

    norm: Norm | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", as_norm(self.norm))  # torch's callers pass words and integers

    @property
    def is_reproducible(self) -> bool:
        """Whether its norm ranks channels the same on every device."""
        return self.norm is None or is_reproducible(self.norm)

    def check(self, path: str) -> None:
        """Refuse a norm that is not a number. Raises: RecipeError."""
        check_norm(self.norm, f"{path}.norm")


def as_norm(norm: object) -> Norm | None:
    """Return a norm given as a number, a name or a word. Raises: RecipeError if it is none of these."""
    if norm is None or isinstance(norm, NamedNorm):
        return norm
    if isinstance(norm, str) and norm in set(NamedNorm):
        return NamedNorm(norm)
    if isinstance(norm, int | float):
        return float(norm)
    raise RecipeError(
        Reason.INVALID_NORM, f"norm must be a number or one of {', '.join(NamedNorm)}, got {norm!r}", field="norm"
    )


def check_norm(norm: Norm | None, path: str) -> None:
    """Refuse a p that is NaN. Raises: RecipeError."""
    if isinstance(norm, float) and math.isnan(norm):
        raise RecipeError(Reason.INVALID_NORM, f"{path}: the norm's p is NaN; give a number", field=f"{path}.p")
