"""What every granularity states about itself. Validation, planning and the service read this only."""

from typing import ClassVar, NoReturn

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.scores.score import Score


class Granularity:
    """In which pieces a rule prunes: entries, channels, coupled channels. Granularities are frozen values."""

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire, in the paths of fields and in metrics."""

    holder: ClassVar[str] = "tensor"
    """What holds the pieces that compete in local scope."""

    holders: ClassVar[str] = "the selected tensors"
    """What holds the pieces that compete in global scope."""

    takes_select: ClassVar[bool] = True
    """Whether a rule's patterns say on which tensors it acts; if not, the granularity names them."""

    takes_norm: ClassVar[bool] = True
    """Whether a piece is worth a norm over its entries."""

    takes_nuclear_norm: ClassVar[bool] = False
    """Whether a piece can be a matrix."""

    is_removable: ClassVar[bool] = False
    """Whether what it prunes can be taken out, so that tensors become smaller."""

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this granularity in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """

    def check_parameter(self, score: Score, name: str, weight: TensorDescription, path: str) -> None:
        """Refuse a parameter that cannot be pruned in these pieces. `path`: of the rule.

        Raises: MismatchError naming the parameter and the rule's field.
        """

    def pieces(self, shape: tuple[int, ...]) -> int:
        """Return the most pieces of one tensor that can be pruned; a prior mask may leave fewer."""
        raise NotImplementedError

    def ranking_bytes(self, shape: tuple[int, ...]) -> int:  # noqa: ARG002 - what most take
        """Return the bytes that ranking the pieces of one tensor takes beyond its masks."""
        return 0

    def refuse_count(self, count: int, unpruned: int, position: int, holder: str | None) -> NoReturn:
        """Refuse a count above what is unpruned. `holder`: the tensor or group at fault; None: all of them together.

        Raises: MismatchError naming the rule's amount.
        """
        where = f"{self.holder} {holder!r} has" if holder is not None else f"{self.holders} have"
        raise MismatchError(
            Reason.COUNT_TOO_LARGE,
            f"rules[{position}].amount: {count:,} {self.field} are to be pruned, but {where} only {unpruned:,} still "
            f"unpruned; ask for at most that, or for a fraction",
            field=f"rules[{position}].amount.count",
            tensor=holder if self.holder == "tensor" else None,
        )
