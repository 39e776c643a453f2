"""Single entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import OUTPUT_CHANNEL, Ranking, RankingContext
from pruning_engine.granularities.rankings.entry_ranking import EntryRanking
from pruning_engine.granularities.rankings.group_ranking import GroupRanking
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.output_channels import output_channels
from pruning_engine.methods.choices import Choice, by_matrix, by_rows
from pruning_engine.scope import Scope
from pruning_engine.scores.layer import Flags
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True)
class Entries(Granularity):
    """Single entries are pruned: torch's "unstructured"."""

    field: ClassVar[str] = "entries"
    prunes_entries: ClassVar[bool] = True
    takes_output_channels: ClassVar[bool] = True
    takes_shares: ClassVar[bool] = True
    is_searched: ClassVar[bool] = True

    def pieces(self, parameter: DescribedParameter, scope: Scope) -> int:
        """Return the number of entries that compete: all of a tensor, or those of one output channel."""
        return parameter.entries if scope is not Scope.OUTPUT_CHANNEL else _output_channels(parameter).group_entries

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:
        """Return the bytes of the score, and of one flag per entry where output channels are not contiguous."""
        is_strided = scope is Scope.OUTPUT_CHANNEL and not _output_channels(parameter).is_contiguous
        return score.ranking_bytes(parameter) + (parameter.entries if is_strided else 0)

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that prunes entries, of all tensors together or of each output channel by itself."""
        if not context.is_by_output_channel:
            return EntryRanking(self, context)

        def to_prune(unpruned: int, total: int) -> int:
            return self.count_to_prune(context, unpruned, total, part=OUTPUT_CHANNEL)

        return GroupRanking(context, _output_channels(context.members[0]), to_prune)

    def choices(self, context: RankingContext, flags: Flags) -> Sequence[Choice]:
        """Return what each matrix of a tensor is pruned by: a count of each row, or its part of the tensor's."""
        if context.is_by_output_channel:
            columns = flags.shape[2]
            return [
                by_rows(
                    np.array(
                        [self.count_to_prune(context, int(row.sum()), columns, part=OUTPUT_CHANNEL) for row in matrix]
                    ),
                    matrix,
                )
                for matrix in flags
            ]
        candidates = [int(matrix.sum()) for matrix in flags]
        count = self.count_to_prune(context, sum(candidates), flags.size)
        return [by_matrix(own, matrix) for own, matrix in zip(_divided(count, candidates), flags, strict=True)]


def _output_channels(parameter: DescribedParameter) -> GroupLayout:
    if parameter.input_dim is None:
        raise RuntimeError(f"the plan knows no input dim of {parameter.name!r}, which the scope needs")
    return output_channels(parameter.name, parameter.shape, parameter.input_dim)


def _divided(count: int, candidates: Sequence[int]) -> list[int]:
    """Return a count divided among matrices in proportion to their candidates, exact in total."""
    total, before, taken, parts = sum(candidates), 0, 0, []
    for each in candidates:
        before += each
        until = (2 * count * before + total) // (2 * total) if total else 0
        parts.append(until - taken)
        taken = until
    return parts
