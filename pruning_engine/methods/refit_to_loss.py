"""Refit to the loss: the remaining weights of a layer are set to what raises the model's loss least.

Refit weighs all outputs of a layer alike. Where the gradients g of the loss with respect to the outputs are known,
their Gram matrix G = Σ g gᵀ says which outputs, and which sums of them, matter, and rows make up for each other.

Source: the second-order change of the loss, ½ tr(G D H Dᵀ) with D = W - W', where G and H are taken as independent:
Martens, Grosse, "K-FAC", 2015, arXiv:1503.05671, section 3; for pruning van der Ouderaa et al., "The LLM Surgeon",
2023, arXiv:2312.17244, section 3. They invert both; here conjugate gradients stay within any mask, as in `refit`.
"""

from dataclasses import dataclass

from pruning_engine.methods.arrays import Array, arrays_of
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.updated import Updated


@dataclass(frozen=True, slots=True)
class Damping:
    """What is added to the diagonals, relative to their means: few tokens say little about small directions."""

    inputs: float = 0.001
    outputs: float = 0.05


DAMPING = Damping()


def refit_to_loss(  # noqa: PLR0913 - by keyword, as `refit`
    weight: Array,
    keep: Array,
    gram: Gram,
    output_gram: Gram,
    *,
    steps: int = 30,
    damping: Damping = DAMPING,
    start: Array | None = None,
) -> Updated:
    """Return the weights (R, C) within the mask for which tr(G D H Dᵀ), D = W - W', is least.

    `output_gram`: G (R, R). Where it is 0, no output is known to matter, and all count alike.
    `start`: where to begin, such as what `refit` left; weight · keep by default.
    Cost: in each step a product (R, C) · (C, C) and one (R, R) · (R, C), and five matrices of the weight's size.
    """
    ops = arrays_of(weight)
    inputs, outputs = _damped(gram, weight, damping.inputs), _damped(output_gram, weight, damping.outputs)
    inverse_diagonal = 1 / (outputs.diagonal()[:, None] * inputs.diagonal()[None, :])
    solution = ops.where(keep, weight if start is None else start, 0.0)
    residual = ops.where(keep, ops.matmul(outputs, ops.matmul(weight - solution, inputs)), 0.0)
    direction = residual * inverse_diagonal
    product = _dot(residual, direction)
    enough = 1e-10 * product
    for _ in range(steps):
        image = ops.where(keep, ops.matmul(outputs, ops.matmul(direction, inputs)), 0.0)
        curvature = _dot(direction, image)
        if product <= enough or curvature <= 0:
            break
        solution += product / curvature * direction
        residual -= product / curvature * image
        scaled = residual * inverse_diagonal
        before, product = product, _dot(residual, scaled)
        direction = scaled + product / before * direction
    return Updated(solution, damping.inputs)


def loss_change(weight: Array, pruned: Array, gram: Gram, output_gram: Gram) -> float:
    """Return tr(G D H Dᵀ): twice the change of the loss that is expected, without damping."""
    difference = weight - pruned
    ops = arrays_of(weight)
    images = ops.matmul(output_gram.matrix_like(weight), ops.matmul(difference, gram.matrix_like(weight)))
    return max(0.0, _dot(difference, images))


def _damped(gram: Gram, like: Array, damping: float) -> Array:
    """Return the matrix over its mean diagonal, damped; the identity for a matrix of zeros."""
    ops, scale = arrays_of(like), gram.scale
    matrix = ops.copy(gram.matrix_like(like))
    if scale > 0:
        matrix /= scale
    _add_to_diagonal(matrix, damping if scale > 0 else 1.0)
    return matrix


def _add_to_diagonal(matrix: Array, value: float) -> None:
    size = len(matrix)
    matrix.reshape(-1)[:: size + 1] += value


def _dot(one: Array, other: Array) -> float:
    return float(arrays_of(one).dot_rows(one, other).sum())
