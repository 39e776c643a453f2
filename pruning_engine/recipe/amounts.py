"""How many entries, channels or units a rule prunes."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pruning_engine.errors import Reason, RecipeError


@dataclass(frozen=True, slots=True)
class Fraction:
    """A part of what is still unpruned, 0.0 to 1.0; halves round to even. torch's float amount."""

    field: ClassVar[str] = "fraction"

    value: float

    def of(self, unpruned: int, total: int) -> int:  # noqa: ARG002 - one signature for the three amounts
        """Return how many of `unpruned` out of `total` to prune."""
        return round(self.value * unpruned)

    def check(self, path: str) -> None:
        """Refuse a part outside 0.0 to 1.0. Raises: RecipeError."""
        _check_part(self.value, self.field, path)


@dataclass(frozen=True, slots=True)
class Count:
    """A number, at most what is still unpruned. torch's int amount."""

    field: ClassVar[str] = "count"

    value: int

    def of(self, unpruned: int, total: int) -> int:  # noqa: ARG002
        """Return how many of `unpruned` out of `total` to prune; the caller refuses more than `unpruned`."""
        return self.value

    def check(self, path: str) -> None:
        """Refuse what is not a whole number from 0. Raises: RecipeError."""
        if not isinstance(self.value, int) or self.value < 0:
            raise RecipeError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"{path}: a count is a whole number from 0, got {self.value}",
                field=f"{path}.count",
            )


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Prune until this part of all, 0.0 to 1.0, is pruned, what was pruned before included."""

    field: ClassVar[str] = "sparsity"

    value: float

    def of(self, unpruned: int, total: int) -> int:
        """Return how many of `unpruned` out of `total` to prune: none if the sparsity is reached already."""
        return max(0, round(self.value * total) - (total - unpruned))

    def check(self, path: str) -> None:
        """Refuse a part outside 0.0 to 1.0. Raises: RecipeError."""
        _check_part(self.value, self.field, path)


@dataclass(frozen=True, slots=True)
class Kept:
    """Prune until this many units of each group are left, or in global scope of all groups together; for units only."""

    field: ClassVar[str] = "kept"

    value: int

    def of(self, unpruned: int, total: int) -> int:  # noqa: ARG002
        """Return how many of `unpruned` out of `total` to prune: none if no more are left already."""
        return max(0, unpruned - self.value)

    def check(self, path: str) -> None:
        """Refuse what is not a whole number from 1. Raises: RecipeError."""
        if not isinstance(self.value, int) or self.value < 1:
            raise RecipeError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"{path}: the number of units that are kept is a whole number from 1, got {self.value}",
                field=f"{path}.kept",
            )


Amount: TypeAlias = Fraction | Count | Sparsity | Kept


def _check_part(value: float, field: str, path: str) -> None:
    if not (isinstance(value, int | float) and 0.0 <= value <= 1.0):  # also refuses NaN
        raise RecipeError(
            Reason.AMOUNT_OUT_OF_RANGE, f"{path}: a {field} is 0.0 to 1.0, got {value}", field=f"{path}.{field}"
        )
