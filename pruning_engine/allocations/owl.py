"""OWL: tensors with more outliers are pruned less.

Source: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High
Sparsity", 2024, arXiv:2310.05175, section 3.
"""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.allocations.allocation import Allocation
from pruning_engine.errors import Reason, RecipeError


@dataclass(frozen=True, slots=True)
class Owl(Allocation):
    """`outlier_factor`: the paper's M, None: 5. `max_difference`: its lambda, None: 0.08."""

    field: ClassVar[str] = "owl"

    outlier_factor: float | None = None
    max_difference: float | None = None

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        if self.outlier_factor is not None and not 1 <= self.outlier_factor < float("inf"):
            self._refuse(f"{path}.outlier_factor", "a finite number from 1", self.outlier_factor)
        if self.max_difference is not None and not 0 <= self.max_difference <= 1:
            self._refuse(f"{path}.max_difference", "0.0 to 1.0", self.max_difference)

    @staticmethod
    def _refuse(path: str, allowed: str, value: float) -> None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: allowed is {allowed}, got {value}", field=path)
