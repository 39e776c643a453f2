"""What every granularity states about itself and does. Validation, planning and execution know no single one."""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.methods.choices import Choice
from pruning_engine.scope import Scope
from pruning_engine.scores.layer import Flags
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score
from pruning_proto.counted import counted_that


class Granularity:
    """In which pieces a rule prunes: entries, channels, coupled channels. Granularities are frozen values."""

    __slots__ = ()

    field: ClassVar[str]
    """Its name on the wire, in the paths of fields and in metrics."""

    holder: ClassVar[str] = "tensor"
    """What holds the pieces that compete in local scope."""

    holders: ClassVar[str] = "the selected tensors"
    """What holds the pieces that compete in global scope."""

    takes_amount: ClassVar[bool] = True
    """Whether a rule says how many pieces are pruned; if not, the granularity does."""

    takes_scope: ClassVar[bool] = True
    """Whether tensors can compete."""

    takes_output_channels: ClassVar[bool] = False
    """Whether pieces can compete within each output channel."""

    takes_values: ClassVar[bool] = False
    """Whether it needs the importance of single entries as numbers."""

    takes_shares: ClassVar[bool] = False
    """Whether each tensor can have a share of its own: by an allocation, or by bounds of its sparsity."""

    takes_select: ClassVar[bool] = True
    """Whether a rule's patterns say on which tensors it acts; if not, the granularity names them."""

    takes_norm: ClassVar[bool] = False
    """Whether a piece is worth a norm over its entries."""

    takes_nuclear_norm: ClassVar[bool] = False
    """Whether a piece can be a matrix."""

    uses_input_dim: ClassVar[bool] = False
    """Whether the dim of a tensor's input channels makes a difference, where it is known."""

    prunes_entries: ClassVar[bool] = False
    """Whether a piece is a single entry, so that scores of entries can rank it."""

    is_searched: ClassVar[bool] = False
    """Whether what several tensors lose can be found without holding them: see `entry_search`."""

    is_scanned: ClassVar[bool] = False
    """Whether output format SCAN can show what it costs to prune in these pieces; it can for single entries."""

    is_removable: ClassVar[bool] = False
    """Whether what it prunes can be taken out, so that tensors become smaller."""

    # Checks

    def check(self, path: str) -> None:
        """Refuse values that are invalid for any checkpoint. `path`: of this granularity in the recipe.

        Raises: RecipeError with the path of the field at fault.
        """

    def check_parameter(
        self, score: Score, name: str, weight: TensorDescription, path: str, input_dim: int | None = None
    ) -> None:
        """Refuse a parameter that cannot be pruned in these pieces. `path`: of the rule. `input_dim`: if it is known.

        Raises: MismatchError naming the parameter and the rule's field.
        """

    def pieces(self, parameter: DescribedParameter, scope: Scope) -> int:
        """Return the most pieces that can be pruned of those that compete; a prior mask may leave fewer."""
        raise NotImplementedError(f"{type(self).__name__} does not count pieces of a tensor")

    def refuse_count(self, count: int, unpruned: int, position: int, holder: str | None, part: str = "") -> NoReturn:
        """Refuse a count above what is unpruned. `holder`: the tensor or group at fault; None: all of them together.

        `part`: of what part of the holder, such as "a row of ". Raises: MismatchError naming the rule's amount.
        """
        piece = "entry" if self.field == "entries" else self.field.removesuffix("s")
        where = f"{part}{self.holder} {holder!r} has" if holder is not None else f"{self.holders} have"
        raise MismatchError(
            Reason.COUNT_TOO_LARGE,
            f"rules[{position}].amount: {counted_that(count, piece)} to be pruned, but {where} only {unpruned:,} still "
            f"unpruned; ask for at most that, or for a fraction",
            field=f"rules[{position}].amount.count",
            tensor=holder if self.holder == "tensor" else None,
        )

    # Ranking

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002 - of most
        """Return the bytes that ranking the pieces of one tensor takes beyond its masks."""
        return score.ranking_bytes(parameter)

    def counts_zeros_of(self, name: str) -> bool:  # noqa: ARG002 - of most
        """Whether zeros of a parameter count as pruned where a rule says so."""
        return True

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule at work in these pieces."""
        raise NotImplementedError(f"{type(self).__name__} does not rank")

    def choices(self, context: RankingContext, flags: Flags) -> Sequence[Choice]:
        """Return by what each matrix (R, C) of a tensor is pruned, for scores that eliminate columns.

        Shape: `flags` (E, R, C), True where unpruned. Raises: MismatchError if the rule counts more than are.
        """
        raise NotImplementedError(f"{type(self).__name__} has no choices of entries")

    def count_to_prune(
        self, context: RankingContext, unpruned: int, total: int, holder: str | None = None, part: str = ""
    ) -> int:
        """Return how many of `unpruned` pieces out of `total` a rule prunes.

        Raises: MismatchError if it counts more than are unpruned.
        """
        count = context.amount_of(unpruned, total)
        if context.bounds is not None and not context.is_global:  # of a tensor with a share of its own
            limits = context.bounds.limits(unpruned, total)
            count = min(max(count, limits.least), limits.most)
        if count > unpruned:
            self.refuse_count(count, unpruned, context.position, holder or context.only_member, part)
        return count
