"""Amounts by predicted error: the sum over all tensors is least.

On language models this was often worse than the same amount for each tensor: the error of a layer's outputs does not
say what it does to the model. Compare by an evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np

from pruning_engine.allocations.allocation import Allocation, Allotted
from pruning_engine.checkpoints.statistics import Alternatives
from pruning_engine.kernels.backend import Floats
from pruning_engine.kernels.input_matrix import flags_of
from pruning_engine.methods.predicted_error import output_energy
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score, ScoringContext
from pruning_engine.selection.entries import select
from pruning_proto.names import IN_GRAM, INPUTS

_STEPS: Final = 20
"""Steps of sparsity at which errors are predicted; between them they are interpolated."""


@dataclass(frozen=True, slots=True)
class LeastPredictedError(Allocation):
    """The sum of the relative predicted errors of all tensors is least. Needs statistics for each.

    Errors are those of masks over whole tensors, by the rule's score, before any update; entries that were pruned
    before count as zeros. Curves are made convex, so that the least sum is found step by step.
    """

    field: ClassVar[str] = "least_predicted_error"
    is_barrier: ClassVar[bool] = True
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)

    def measure(self, parameter: ArrivedParameter, score: Score, scoring: ScoringContext) -> Floats:
        """Return the relative predicted error with 0, 1/20, ..., 20/20 of the unpruned entries pruned.

        Raises: NanKeyError; CheckpointError if the statistics cannot be used.
        """
        candidates, layer = score.candidates(parameter, scoring), parameter.layer
        losses = []
        for step in range(_STEPS + 1):
            (kept,) = select([candidates], round(candidates.unpruned * step / _STEPS)).kept
            pruned = ~layer.layout.to_matrices(flags_of(kept, parameter.backend))
            parts = zip(layer.weight, pruned, layer.grams, strict=True)
            losses.append(sum(output_energy(np.where(lost, weight, 0), gram) for weight, lost, gram in parts))
        energy = layer.energy
        return np.sqrt(np.array(losses) / energy) if energy > 0 else np.zeros(_STEPS + 1)

    def densities(self, tensors: Sequence[Allotted], density: float) -> list[float]:
        """Return densities of the least sum: entries are pruned where each adds the least to it, step by step."""
        entries = np.array([tensor.entries for tensor in tensors], np.float64)
        steps = [step for index, tensor in enumerate(tensors) for step in _steps(index, tensor)]
        sparsities = np.array([1.0 - tensor.most for tensor in tensors])
        left = (1.0 - density) * entries.sum() - float(sparsities @ entries)
        for step in sorted(steps):
            taken = min(step.size, max(0.0, left) / max(1.0, entries[step.tensor]))
            sparsities[step.tensor] += taken
            left -= taken * entries[step.tensor]
        return [float(1.0 - sparsity) for sparsity in sparsities]


@dataclass(frozen=True, slots=True, order=True)
class _Step:
    """A part of the curve of one tensor: what an entry costs there, and how much more sparsity it is."""

    cost: float
    tensor: int
    begin: float
    size: float


def _steps(index: int, tensor: Allotted) -> list[_Step]:
    """Return the steps of a tensor's curve between its limits, cheapest first: those of its convex hull."""
    places, errors = np.linspace(0.0, 1.0, _STEPS + 1), np.asarray(tensor.measure, np.float64)
    least, most = 1.0 - tensor.most, 1.0 - tensor.least
    inside = places[(places > least) & (places < most)]
    ends = np.array([least, *inside, most])
    heights = np.interp(ends, places, errors)
    hull = [0]
    for place in range(1, len(ends)):
        while len(hull) > 1 and _slope(ends, heights, hull[-2], hull[-1]) >= _slope(ends, heights, hull[-1], place):
            hull.pop()
        hull.append(place)
    return [
        _Step(
            cost=_slope(ends, heights, begin, end) / max(1, tensor.entries),
            tensor=index,
            begin=float(ends[begin]),
            size=float(ends[end] - ends[begin]),
        )
        for begin, end in pairwise(hull)
        if ends[end] > ends[begin]
    ]


def _slope(places: Floats, heights: Floats, begin: int, end: int) -> float:
    width = places[end] - places[begin]
    return float((heights[end] - heights[begin]) / width) if width > 0 else float("inf")
