"""The error of a layer's outputs that its statistics predict: of the mask alone, and of the result."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import BoolArray, Values
from pruning_engine.kernels.input_matrix import Matrices, read_entries
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.predicted_error import output_energy
from pruning_engine.scores.layer import Layer

_MOST_COLUMNS: Final = 0.8
"""Above this part of columns that changed, taking them out costs more than it saves."""


@dataclass(frozen=True, slots=True)
class PredictedErrors:
    """||(W - W') X|| / ||W X||: `masked` with the weights as they arrived, `result` with those after the last rule."""

    masked: float
    result: float


def predicted_errors(layer: Layer, flags: BoolArray, values: Values, *, is_changed: bool) -> PredictedErrors:
    """Return both errors of a layer with a mask, `flags` flat. `is_changed`: rules changed weights."""
    keep = layer.layout.to_matrices(flags)
    masked = relative_error(layer, np.where(keep, layer.weight, 0))
    if not is_changed:
        return PredictedErrors(masked, masked)
    numbers = layer.layout.to_matrices(read_entries(values, layer.weight.dtype))
    return PredictedErrors(masked, relative_error(layer, np.where(keep, numbers, 0)))


def relative_error(layer: Layer, weight: Matrices) -> float:
    """Return the relative error of other weights, (E, R, C); without statistics with H = I, which is weak."""
    with np.errstate(all="ignore"):
        parts = zip(layer.weight, weight, layer.grams_or_none, strict=True)
        lost = sum(_lost(own - other, gram) for own, other, gram in parts)
        energy = layer.energy
    if lost == 0:
        return 0.0
    return float(np.sqrt(lost / energy)) if energy > 0 else float("inf")


def _lost(difference: Array, gram: Gram | None) -> float:
    """Return the energy of the outputs of what was lost; only its columns that are not 0 count."""
    if gram is None:
        return output_energy(difference, None)
    columns = np.flatnonzero(difference.any(axis=0))
    if len(columns) > _MOST_COLUMNS * difference.shape[1]:
        return output_energy(difference, gram)
    part = Gram.of_matrix(gram.matrix.take(columns, axis=0).take(columns, axis=1))
    return output_energy(difference.take(columns, axis=1), part)
