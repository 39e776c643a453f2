"""What every allocation states about itself. Validation, planning and execution know no single one."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.checkpoints.statistics import UsesStatistics
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.selection.limits import Limits


class Allocation(UsesStatistics):
    """How one amount is divided among the selected tensors. Allocations are frozen values."""

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire and in the paths of fields."""

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this allocation in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of each tensor's sparsity, what was pruned before included; None: 0.0 and 1.0."""

    min_sparsity: float | None = None
    max_sparsity: float | None = None

    @property
    def least(self) -> float:
        """The lower limit."""
        return 0.0 if self.min_sparsity is None else self.min_sparsity

    @property
    def most(self) -> float:
        """The upper limit."""
        return 1.0 if self.max_sparsity is None else self.max_sparsity

    def limits(self, unpruned: int, total: int) -> Limits:
        """Return how many of `unpruned` pieces out of `total` can be pruned; none where more than `most` were before.

        The limits are exact: the pruned pieces, over `total`, are within them in every result.
        """
        pruned = total - unpruned
        most = min(unpruned, max(0, _highest(self.most, total) - pruned))
        return Limits(min(most, max(0, _lowest(self.least, total) - pruned)), most)

    def check(self, path: str) -> None:
        """Refuse limits out of range or order. Raises: RecipeError."""
        for name, value in (("min_sparsity", self.least), ("max_sparsity", self.most)):
            if not 0.0 <= value <= 1.0:  # also refuses NaN
                raise RecipeError(
                    Reason.AMOUNT_OUT_OF_RANGE,
                    f"{path}.{name}: a sparsity is 0.0 to 1.0, got {value}",
                    field=f"{path}.{name}",
                )
        if self.least > self.most:
            raise RecipeError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"{path}: min_sparsity {self.least} is above max_sparsity {self.most}",
                field=f"{path}.min_sparsity",
            )


def _highest(part: float, total: int) -> int:
    """Return the largest number that is at most this part of a total."""
    count = round(part * total)
    return count - 1 if count > 0 and count / total > part else count


def _lowest(part: float, total: int) -> int:
    """Return the least number that is at least this part of a total."""
    count = round(part * total)
    return count + 1 if total and count / total < part else count
