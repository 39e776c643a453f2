"""N:M sparsity: in each group of m consecutive entries, n are kept.

Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378: 2:4 is what the sparse
tensor cores of NVIDIA's GPUs compute with.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.group_ranking import GroupRanking
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.scores.score import Score

MOST_ENTRIES: Final = 32
"""The largest group."""


@dataclass(frozen=True, slots=True)
class NOfM(Granularity):
    """In each group of `m` consecutive entries along the last dim, the `n` most important are kept: 2:4 is NOfM(2, 4).

    Entries that were pruned before are pruned first; of a group with fewer than `n` unpruned ones, nothing is pruned.
    """

    field: ClassVar[str] = "n_of_m"
    takes_amount: ClassVar[bool] = False
    takes_scope: ClassVar[bool] = False
    prunes_entries: ClassVar[bool] = True

    n: int
    m: int

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
    ) -> None:
        """Refuse a last dim that is not whole groups. Raises: MismatchError naming the tensor."""
        last = weight.shape[-1] if weight.shape else 1
        if weight.shape and last % self.m == 0:
            return
        field = f"{path}.granularity.{self.field}.m"
        sizes = [m for m in range(max(2, self.n + 1), MOST_ENTRIES + 1) if weight.shape and last % m == 0]
        allowed = ", ".join(map(str, sizes)) or "none"
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"{field}: tensor {name!r} of shape {list(weight.shape)} has {last:,} entries along its last dim, which "
            f"are not whole groups of {self.m}; allowed m for this tensor and n = {self.n}: {allowed}. Use one of "
            f"these, or exclude the tensor",
            field=field,
            tensor=name,
        )

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that leaves at most n unpruned entries in each group of m."""
        entries = prod(context.members[0].shape)
        layout = ChannelLayout(outer=1, channels=entries // self.m, inner=self.m, slice_shape=(self.m,))
        return GroupRanking(context, layout, lambda unpruned, _: max(0, unpruned - self.n))

    @staticmethod
    def _refuse(path: str, text: str) -> None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)
