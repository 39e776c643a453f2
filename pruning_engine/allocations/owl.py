"""OWL: tensors with more outliers are pruned less.

Source: Yin et al., "Outlier Weighed Layerwise Sparsity (OWL): A Missing Secret Sauce for Pruning LLMs to High
Sparsity", 2024, arXiv:2310.05175, section 3. There layers are the blocks of a transformer; here each tensor is one.
The paper's limit, that no sparsity differs from the amount by more than lambda, is kept; its authors' code scales the
range of the outlier ratios to 2 lambda, and exceeds the limit where their mean is not in the middle of the range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pruning_engine.allocations.allocation import Allocation, Allotted
from pruning_engine.allocations.levels import Line, densities_at_total
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.kernels.magnitude_keys import magnitudes_of
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_engine.selection.entries import NanKeyError

_FACTOR: Final = 5.0
_DIFFERENCE: Final = 0.08

_SUMMED: Final = 1 << 16
"""Scores that are summed at a time: the same ones for any number of threads."""


@dataclass(frozen=True, slots=True)
class Owl(Allocation):
    """`outlier_factor`: the paper's M, None: 5. `max_difference`: its lambda, None: 0.08.

    A score is an outlier if it is above M times the mean of its tensor; pruned entries do not count.
    """

    field: ClassVar[str] = "owl"
    needs_values: ClassVar[bool] = True
    is_barrier: ClassVar[bool] = True

    outlier_factor: float | None = None
    max_difference: float | None = None

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        if self.outlier_factor is not None and not 1 <= self.outlier_factor < float("inf"):
            self._refuse(f"{path}.outlier_factor", "a finite number from 1", self.outlier_factor)
        if self.max_difference is not None and not 0 <= self.max_difference <= 1:
            self._refuse(f"{path}.max_difference", "0.0 to 1.0", self.max_difference)

    def measure(self, parameter: ArrivedParameter, score: Score, scoring: ScoringContext) -> float:
        """Return the part of the unpruned entries whose scores are outliers. Raises: NanKeyError."""
        candidates = score.candidates(parameter, scoring)
        keys = candidates.everything()
        if not len(keys):
            return 0.0
        if candidates.is_nan(int(keys.max())):
            raise NanKeyError(0)
        parts = [magnitudes_of(keys[at : at + _SUMMED], scoring.domain) for at in range(0, len(keys), _SUMMED)]
        mean = math.fsum(float(part.sum()) for part in parts) / len(keys)
        factor = _FACTOR if self.outlier_factor is None else self.outlier_factor
        return sum(int(np.count_nonzero(part > factor * mean)) for part in parts) / len(keys)

    def densities(self, tensors: Sequence[Allotted], density: float) -> list[float]:
        """Return densities that differ as the outlier ratios do, by at most `max_difference` from the amount's."""
        most = _DIFFERENCE if self.max_difference is None else self.max_difference
        ratios = np.array([tensor.measure for tensor in tensors], np.float64)
        entries = np.array([tensor.entries for tensor in tensors], np.float64)
        differences = ratios - entries @ ratios / max(1.0, entries.sum())
        differences *= most / max(float(np.abs(differences).max(initial=0.0)), np.finfo(np.float64).tiny)
        lines = [
            Line(entries=tensor.entries, offset=density + difference, slope=1.0, least=tensor.least, most=tensor.most)
            for tensor, difference in zip(tensors, differences.tolist(), strict=True)
        ]
        return densities_at_total(lines, density)

    @staticmethod
    def _refuse(path: str, allowed: str, value: float) -> None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: allowed is {allowed}, got {value}", field=path)
