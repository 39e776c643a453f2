"""The error of a layer's outputs that a change of its weights causes, predicted from H alone: exact, without the model.

Source: the objective of Frantar, Alistarh 2023, arXiv:2301.00774, equation 1: ‖(W - W')X‖² = tr((W - W') H (W - W')ᵀ).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from pruning_engine.methods.arrays import Array, arrays_of, row_blocks
from pruning_engine.methods.gram import Gram

STRIP: Final = 256
"""Columns of the outputs that are looked at together."""


def output_energy(weight: Array, gram: Gram | None) -> float:
    """Return tr(W H Wᵀ) = ‖WX‖², summed in fp64; with H = I where there is no Gram. Half of H is read: it is symmetric.

    Cost: R C² multiplications and additions together.
    """
    ops = arrays_of(weight)
    matrix = None if gram is None else gram.matrix_like(weight)
    total = 0.0
    for rows in row_blocks(*weight.shape):
        block = weight[rows]
        total += float(ops.dot_rows(block, block).sum()) if matrix is None else _energy(block, matrix)
    return max(0.0, total)


def _energy(weight: Array, matrix: Array) -> float:
    """Return tr(W H Wᵀ): of each pair of different columns, once and doubled."""
    ops, columns, total = arrays_of(weight), weight.shape[1], 0.0
    for begin in range(0, columns, STRIP):
        own, rest = slice(begin, begin + STRIP), slice(begin + STRIP, columns)
        strip = weight[:, own]
        image = ops.matmul(strip, matrix[own, own])
        if rest.start < columns:
            image += 2 * ops.matmul(weight[:, rest], matrix[rest, own])
        total += float(ops.dot_rows(image, strip).sum())
    return total


def relative_error(weight: Array, pruned: Array, gram: Gram | None, *, energy: float | None = None) -> float:
    """Return ‖(W - W')X‖ / ‖WX‖: 0 if nothing changes, 1 if all outputs become 0.

    `gram`: None for H = I, which is ‖W - W'‖ / ‖W‖, weak evidence.
    `energy`: output_energy(weight, gram), where it is known already: half the cost.
    """
    difference = sum(_differences(weight, pruned, gram))
    return _ratio(difference, output_energy(weight, gram) if energy is None else energy)


def _differences(weight: Array, pruned: Array, gram: Gram | None) -> Iterable[float]:
    for rows in row_blocks(*weight.shape):
        yield output_energy(weight[rows] - pruned[rows], gram)


def errors_of_masks(weight: Array, masks: Iterable[Array], gram: Gram | None) -> list[float]:
    """Return relative_error of W without what each mask prunes, one mask at a time."""
    ops, energy = arrays_of(weight), output_energy(weight, gram)

    def pruned(keep: Array) -> Iterable[float]:
        for rows in row_blocks(*weight.shape):
            yield output_energy(ops.where(~keep[rows], weight[rows], 0.0), gram)

    return [_ratio(sum(pruned(keep)), energy) for keep in masks]


def error_curve(
    weight: Array, scores: Array, sparsities: Sequence[float], gram: Gram | None, *, in_rows: bool = False
) -> list[float]:
    """Return the relative error at several sparsities, where the entries of least score are pruned.

    `in_rows`: whether scores are compared within each row (Wanda), not over the whole matrix.
    """
    ops = arrays_of(weight)
    keep = scores == scores  # noqa: PLR0124 - all True, of the right kind; NaN scores are never pruned

    def mask_at(sparsity: float) -> Array:
        if not in_rows:
            return ops.prune_least(scores, keep, round(sparsity * weight.shape[0] * weight.shape[1]))
        return ops.prune_least_in_rows(scores, keep, np.full(len(weight), round(sparsity * weight.shape[1])))

    return errors_of_masks(weight, map(mask_at, sparsities), gram)


def _ratio(difference: float, energy: float) -> float:
    if difference == 0:
        return 0.0
    return math.sqrt(difference / energy) if energy > 0 else math.inf
