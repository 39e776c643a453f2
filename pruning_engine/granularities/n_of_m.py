"""N:M sparsity: in each group of m consecutive entries along a dim, n are kept.

Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378: 2:4 is what the sparse
tensor cores of NVIDIA's GPUs compute with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.nothing_pruned import NothingPruned
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.granularities.rankings.group_ranking import GroupRanking
from pruning_engine.kernels.backend import Integers
from pruning_engine.kernels.group_layout import GroupLayout, groups_along
from pruning_engine.kernels.input_matrix import UnfitInputDimError, input_layout
from pruning_engine.methods.choices import Choice, given, n_of_m
from pruning_engine.scope import Scope
from pruning_engine.scores.layer import Flags
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score

_MATRIX_DIMS: Final = 2

MOST_ENTRIES: Final = 32
"""The largest group."""


@dataclass(frozen=True, slots=True)
class NOfM(Granularity):
    """In each group of `m` consecutive entries along a dim, the `n` most important are kept: 2:4 is NOfM(2, 4).

    `dim`: negative counts from the last; None: of a matrix the dim of the input channels, where it is known, else the
    last. `allow_dense`: a tensor that is not whole groups along the dim is left as it is, instead of refused.
    Entries that were pruned before are pruned first; of a group with fewer than `n` unpruned ones, nothing is pruned.
    """

    field: ClassVar[str] = "n_of_m"
    takes_amount: ClassVar[bool] = False
    takes_scope: ClassVar[bool] = False
    uses_input_dim: ClassVar[bool] = True
    prunes_entries: ClassVar[bool] = True

    n: int
    m: int
    dim: int | None = None
    allow_dense: bool = False

    def check(self, path: str) -> None:
        """Refuse numbers out of range. Raises: RecipeError."""
        if not 2 <= self.m <= MOST_ENTRIES:
            self._refuse(f"{path}.m", f"the entries of a group are 2 to {MOST_ENTRIES}, got {self.m}")
        if not 1 <= self.n < self.m:
            self._refuse(f"{path}.n", f"the kept entries of a group of {self.m} are 1 to {self.m - 1}, got {self.n}")

    def check_parameter(
        self,
        score: Score,  # noqa: ARG002 - one signature for all granularities
        name: str,
        weight: TensorDescription,
        path: str,
        input_dim: int | None = None,
    ) -> None:
        """Refuse a tensor without the dim, or one that is not whole groups along it. Raises: MismatchError."""
        dim, shape, field = self.dim_of(weight.shape, input_dim), weight.shape, f"{path}.granularity.{self.field}"
        if shape and not -len(shape) <= dim < len(shape):
            raise MismatchError(
                Reason.DIM_OUT_OF_RANGE,
                f"{field}.dim: tensor {name!r} of shape {list(shape)} has no dim {dim}; allowed dims: {-len(shape)} to "
                f"{len(shape) - 1}",
                field=f"{field}.dim",
                tensor=name,
            )
        if self.allow_dense or self.fits(shape, input_dim):
            return
        entries = shape[dim] if shape else 1
        sizes = [m for m in range(max(2, self.n + 1), MOST_ENTRIES + 1) if shape and entries % m == 0]
        allowed = ", ".join(map(str, sizes)) or "none"
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"{field}.m: tensor {name!r} of shape {list(shape)} has {entries:,} entries along dim {dim}, which are not "
            f"whole groups of {self.m}; allowed m for this tensor and n = {self.n}: {allowed}. Use one of these, "
            f"exclude the tensor, or leave such tensors as they are with allow_dense",
            field=f"{field}.m",
            tensor=name,
        )

    def dim_of(self, shape: tuple[int, ...], input_dim: int | None) -> int:
        """Return the dim along which entries of a tensor are consecutive."""
        if self.dim is not None:
            return self.dim
        is_of_matrices = len(shape) == _MATRIX_DIMS or input_dim == len(shape) - 1
        return input_dim if input_dim is not None and is_of_matrices else -1

    def fits(self, shape: tuple[int, ...], input_dim: int | None) -> bool:
        """Whether a tensor is whole groups along the dim."""
        return bool(shape) and shape[self.dim_of(shape, input_dim)] % self.m == 0

    def groups_inputs(self, name: str, shape: tuple[int, ...], input_dim: int | None) -> bool:
        """Whether groups of a tensor are consecutive inputs of its layer, as methods that use statistics need them."""
        if input_dim is None or not self.fits(shape, input_dim):
            return False
        try:
            layout = input_layout(name, shape, input_dim)
        except UnfitInputDimError:
            return False
        dim = self.dim_of(shape, input_dim) % len(shape)
        return dim == layout.input_dim or (layout.positions > 1 and dim > layout.input_dim)

    def order_of(self, parameter: DescribedParameter) -> Integers | None:
        """Return the columns of a parameter's matrices in the order of its groups of inputs; None: as they are."""
        if not self.groups_inputs(parameter.name, parameter.shape, parameter.input_dim):
            return None
        layout = input_layout(parameter.name, parameter.shape, parameter.input_dim or 0)
        return layout.order_along(self.dim_of(parameter.shape, parameter.input_dim) % len(parameter.shape))

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002
        """Return the bytes of the score, and of one flag per entry where groups are not contiguous."""
        layout = self._layout(parameter)
        flags = 0 if layout is None or layout.is_contiguous else layout.entries
        return score.ranking_bytes(parameter) + flags

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that leaves at most n unpruned entries in each group of m, or a tensor as it is."""
        layout = self._layout(context.members[0])
        if layout is None:
            return NothingPruned()
        return GroupRanking(context, layout, lambda unpruned, _: max(0, unpruned - self.n))

    def choices(self, context: RankingContext, flags: Flags) -> Sequence[Choice]:
        """Return the pattern for each matrix; of a tensor that is left as it is, its mask."""
        if self._layout(context.members[0]) is None:
            return list(map(given, flags))
        return [n_of_m(self.n, self.m, self.order_of(context.members[0]))] * len(flags)

    def _layout(self, parameter: DescribedParameter) -> GroupLayout | None:
        """Return where the groups of a tensor are; None if it is not whole groups."""
        if not self.fits(parameter.shape, parameter.input_dim):
            return None
        return groups_along(parameter.shape, self.dim_of(parameter.shape, parameter.input_dim), self.m)

    @staticmethod
    def _refuse(path: str, text: str) -> None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)
