"""Importance scores that the caller sends: an auxiliary tensor `w:scores` of the weight's shape."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.checkpoints.parameters import AuxiliaryOf
from pruning_engine.norm import Norm, is_reproducible
from pruning_engine.scores.magnitude import as_norm, check_norm
from pruning_engine.scores.score import Score
from pruning_proto.names import SCORES


@dataclass(frozen=True, slots=True)
class ImportanceScores(Score):
    """The magnitude of `w:scores`. Without them `w` itself is ranked if `fall_back_to_weights`, else it is refused."""

    field: ClassVar[str] = "importance_scores"
    ranks: ClassVar[bool] = True
    ranks_alone: ClassVar[bool] = True
    auxiliary: ClassVar[tuple[str, ...]] = (SCORES,)
    missing_hint: ClassVar[str] = "unless the rule has fall_back_to_weights"

    norm: Norm | None = None
    fall_back_to_weights: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", as_norm(self.norm))

    @property
    def required(self) -> tuple[str, ...]:
        """The scores, unless the rule falls back to the weights."""
        return () if self.fall_back_to_weights else self.auxiliary

    @property
    def is_reproducible(self) -> bool:
        """Whether its norm ranks channels the same on every device."""
        return self.norm is None or is_reproducible(self.norm)

    def ranked(self, auxiliary: AuxiliaryOf) -> str | None:
        """Return the suffix of the scores, where the parameter has them."""
        return SCORES if SCORES in auxiliary else None

    def check(self, path: str) -> None:
        """Refuse a norm that is not a number. Raises: RecipeError."""
        check_norm(self.norm, f"{path}.norm")
