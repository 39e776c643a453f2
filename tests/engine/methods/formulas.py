"""The papers' formulas by brute force in fp64: slow, one row and one column at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pruning_engine.methods.gram import Gram

Floats = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def layer(rows: int, columns: int, tokens: int, *, dead: int = 0, seed: int = 0) -> tuple[Floats, Floats]:
    """Return weights (R, C), and inputs (T, C) of unlike sizes that depend on each other; the last `dead` are 0."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(tokens, columns)) @ (np.eye(columns) + 0.3 * random.normal(size=(columns, columns)))
    inputs *= np.exp(random.normal(size=columns))
    inputs[:, columns - dead :] = 0
    return random.normal(size=(rows, columns)).astype(np.float32), inputs.astype(np.float32)


def error(weight: Floats, pruned: Floats, inputs: Floats) -> float:
    """Return the relative error of the outputs, computed from the outputs."""
    outputs, changed = (inputs.astype(float) @ w.astype(float).T for w in (weight, pruned))
    return float(np.linalg.norm(outputs - changed) / np.linalg.norm(outputs))


def damped(matrix: Floats, damping: float) -> Floats:
    """Return H + damping · mean(diag H) · I."""
    return matrix.astype(float) + damping * float(np.mean(np.diag(matrix))) * np.eye(len(matrix))


def best_within(weight: Floats, keep: Mask, matrix: Floats, damping: float) -> Floats:
    """Return each row's least squares solution within its mask."""
    result, system = np.zeros(weight.shape), damped(matrix, damping)
    for row, mask in enumerate(keep):
        if mask.any():
            image = (matrix.astype(float) @ weight[row].astype(float))[mask]
            result[row, mask] = np.linalg.solve(system[np.ix_(mask, mask)], image)
    return result


def eliminated(weight: Floats, keep: Mask, matrix: Floats, damping: float) -> Floats:
    """Return SparseGPT's weights for a mask: one column at a time, by the inverse of what is left of H."""
    matrix = matrix.astype(float).copy()
    dead = np.diag(matrix) == 0
    system = damped(matrix, damping) + np.diag(dead.astype(float))
    result = np.where(dead, 0, weight.astype(float))
    for column in range(weight.shape[1]):
        inverse = np.linalg.inv(system[column:, column:])
        errors = np.where(keep[:, column], 0, result[:, column] / inverse[0, 0])
        result[:, column:] -= np.outer(errors, inverse[0])
    return np.where(keep, result, 0)


def loss(weight: Floats, keep: Mask, matrix: Floats) -> Floats:
    """Return rᵀHr of each row."""
    pruned = np.where(keep, 0, weight).astype(float)
    return np.asarray(np.einsum("rc,cd,rd->r", pruned, matrix.astype(float), pruned))


def mask(rows: int, columns: int, *, kept: float = 0.5, seed: int = 1) -> Mask:
    """Return a random mask."""
    return np.random.default_rng(seed).random((rows, columns)) < kept


def case(
    rows: int = 6, columns: int = 20, tokens: int = 64, *, dead: int = 0, seed: int = 0
) -> tuple[Floats, Floats, Gram]:
    """Return weights, inputs, and their Gram."""
    weight, inputs = layer(rows, columns, tokens, dead=dead, seed=seed)
    return weight, inputs, Gram.of_inputs(inputs)
