"""Rectangles of entries: output channels by input channels, pruned as a whole.

Not the blocks of a checkpoint that maps of coupled channels look for (maps/blocks.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.checkpoints.parameters import TensorDescription
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.granularities.rankings.block_ranking import BlockRanking
from pruning_engine.kernels.block_layout import BlockLayout, UnfitBlocksError, block_layout
from pruning_engine.scope import Scope
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score

_BLOCK_BYTES = 8 + 8
"""A block's importance, and its place among those that compete."""


@dataclass(frozen=True, slots=True)
class Blocks(Granularity):
    """Blocks of `rows` output channels by `columns` input channels, with their kernel positions in a row.

    A block is worth the sum of the importances of its unpruned entries, in fp64. One without unpruned entries is
    already pruned and not a candidate.
    """

    field: ClassVar[str] = "blocks"
    prunes_entries: ClassVar[bool] = True
    takes_shares: ClassVar[bool] = True
    takes_values: ClassVar[bool] = True
    uses_input_dim: ClassVar[bool] = True

    rows: int
    columns: int

    def check(self, path: str) -> None:
        """Refuse sizes out of range. Raises: RecipeError."""
        for name, size in (("rows", self.rows), ("columns", self.columns)):
            if size < 1:
                raise RecipeError(
                    Reason.INVALID_RECIPE,
                    f"{path}.{name}: a block has 1 {name[:-1]} or more, got {size}",
                    field=f"{path}.{name}",
                )

    def check_parameter(
        self,
        score: Score,  # noqa: ARG002 - one signature for all granularities
        name: str,
        weight: TensorDescription,
        path: str,
        input_dim: int | None = None,
    ) -> None:
        """Refuse a tensor that is not whole blocks. Raises: MismatchError naming the tensor."""
        field = f"{path}.granularity.{self.field}"
        try:
            self._layout(name, weight.shape, input_dim)
        except UnfitBlocksError as error:
            raise MismatchError(
                Reason.SHAPE_MISMATCH,
                f"{field}: tensor {name!r} of shape {list(weight.shape)} is not whole blocks of {self.rows} output "
                f"channels by {self.columns} input channels: {error}; choose sizes that divide these, or exclude the "
                "tensor",
                field=field,
                tensor=name,
            ) from error

    def pieces(self, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002 - of any score
        """Return the number of blocks."""
        return parameter.entries // (self.rows * self.columns)

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:
        """Return the bytes of the score, of the importances of blocks, and of one flag per entry."""
        return score.ranking_bytes(parameter) + _BLOCK_BYTES * self.pieces(parameter, scope) + parameter.entries

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that prunes blocks."""
        layouts = {member.name: self._layout(member.name, member.shape, member.input_dim) for member in context.members}
        return BlockRanking(self, context, layouts)

    def _layout(self, name: str, shape: tuple[int, ...], input_dim: int | None) -> BlockLayout:
        return block_layout(name, shape, input_dim, self.rows, self.columns)
