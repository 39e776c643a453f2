"""A mask that the caller sends: an auxiliary tensor `w:mask` of the weight's shape."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection.outcome import Outcome
from pruning_proto.names import CUSTOM_MASK


@dataclass(frozen=True, slots=True)
class CustomMask(Score):
    """No ranking: what `w:mask` marks 0 is pruned."""

    field: ClassVar[str] = "custom_mask"
    only_granularity: ClassVar[str | None] = "entries"
    auxiliary: ClassVar[tuple[str, ...]] = (CUSTOM_MASK,)
    missing_hint: ClassVar[str] = "the mask that custom_mask applies"

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        """Prune what the mask marks 0. Raises: CheckpointError if it is not 0 and 1."""
        return Outcome(parameter.auxiliary_mask(CUSTOM_MASK).restrict_(parameter.mask))
