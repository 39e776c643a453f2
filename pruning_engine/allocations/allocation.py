"""What every allocation states about itself. Validation, planning and execution know no single one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from pruning_engine.checkpoints.statistics import UsesStatistics
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_engine.selection.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotted:
    """One tensor that gets a part of an amount.

    `shape`: of its weight. `least` and `most`: the limits of its density, the unpruned part of its entries. `measure`:
    what the allocation measured of it; None if it needs no data.
    """

    shape: tuple[int, ...]
    least: float = 0.0
    most: float = 1.0
    measure: object = None

    @property
    def entries(self) -> int:
        """The number of its entries."""
        return prod(self.shape)


class Allocation(UsesStatistics):
    """How one amount is divided among the selected tensors. Allocations are frozen values.

    The densities that an allocation gives keep, over all entries together, the part that the amount keeps; each tensor
    then rounds its own number. A sparsity counts what was pruned before, and a tensor that was sparser before stays so,
    beyond the total. A fraction is of what is unpruned in each tensor.
    """

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire and in the paths of fields."""

    needs_values: ClassVar[bool] = False
    """Whether it needs the importance of single entries as numbers."""

    is_barrier: ClassVar[bool] = False
    """Whether it measures all tensors before any is pruned; if not, shapes are enough."""

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this allocation in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """

    def measure(self, parameter: ArrivedParameter, score: Score, scoring: ScoringContext) -> object:  # noqa: ARG002
        """Return what the allocation needs of one tensor at a barrier. Raises: NanKeyError."""
        return None

    def densities(self, tensors: Sequence[Allotted], density: float) -> list[float]:
        """Return the density of each tensor, such that `density` of all their entries is kept."""
        raise NotImplementedError(f"{type(self).__name__} does not divide amounts")


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
