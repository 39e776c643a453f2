"""What others do, in plain torch, written from the papers: the side that the service is compared with.

`llm_compressor` holds SparseGPT here against llm-compressor's on the same model. Matrices are outputs by inputs
(R, C); `gram` is H = XᵀX (C, C); masks are True where a weight is kept.
"""

from typing import Final

import torch
from torch import Tensor

from tests.benchmarks.quality.amounts import Amount, NOfM

_BLOCK: Final = 128
_DAMPING: Final = 0.01


def magnitude(weight: Tensor, amount: Amount) -> Tensor:
    """Return the pruned weights: the least of the matrix, or of each group of N:M."""
    scores = weight.abs()
    return weight * (_of_groups(scores, amount) if isinstance(amount, NOfM) else _of_all(scores, amount))


def wanda(weight: Tensor, gram: Tensor, amount: Amount) -> Tensor:
    """Return the pruned weights, compared within each row. Source: Sun et al. 2023, arXiv:2306.11695, algorithm 1."""
    scores = weight.abs() * gram.diagonal().sqrt()
    if isinstance(amount, NOfM):
        return weight * _of_groups(scores, amount)
    order = scores.sort(dim=1, stable=True).indices[:, : int(weight.shape[1] * amount)]
    return weight * torch.ones_like(scores, dtype=torch.bool).scatter(1, order, False)


def sparsegpt(weight: Tensor, gram: Tensor, amount: Amount) -> Tensor:
    """Return the pruned and updated weights. Source: Frantar, Alistarh 2023, arXiv:2301.00774, algorithm 1."""
    weight, gram = weight.clone(), gram.clone()
    dead = gram.diagonal() == 0
    gram[dead, dead] = 1
    weight[:, dead] = 0
    gram += _DAMPING * gram.diagonal().mean() * torch.eye(len(gram))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    upper = torch.linalg.cholesky(inverse, upper=True)
    columns = weight.shape[1]
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        errors = _eliminate(weight[:, begin:end], upper[begin:end, begin:end], amount)
        weight[:, end:] -= errors @ upper[begin:end, end:]
    return weight


def _eliminate(weight: Tensor, upper: Tensor, amount: Amount) -> Tensor:
    """Prune a block of columns in place and return its scaled errors, which the columns to its right make up for."""
    diagonal, errors = upper.diagonal(), torch.zeros_like(weight)
    keep = torch.ones_like(weight, dtype=torch.bool)
    if not isinstance(amount, NOfM):
        keep = _of_all((weight / diagonal) ** 2, amount)
    for column in range(weight.shape[1]):
        if isinstance(amount, NOfM) and column % amount.m == 0:
            group = slice(column, column + amount.m)
            keep[:, group] = _of_groups((weight[:, group] / diagonal[group]) ** 2, amount)
        pruned = weight[:, column] * keep[:, column]
        errors[:, column] = (weight[:, column] - pruned) / diagonal[column]
        weight[:, column:] -= errors[:, column, None] * upper[column, None, column:]
        weight[:, column] = pruned
    return errors


def _of_all(scores: Tensor, sparsity: float) -> Tensor:
    """Return the mask without the least of all scores."""
    order = scores.flatten().sort(stable=True).indices[: round(sparsity * scores.numel())]
    return torch.ones(scores.numel(), dtype=torch.bool).index_fill(0, order, False).view_as(scores)


def _of_groups(scores: Tensor, amount: NOfM) -> Tensor:
    """Return the mask with the n largest of each m consecutive scores of a row."""
    groups = scores.reshape(len(scores), -1, amount.m)
    order = groups.sort(dim=2, stable=True).indices[..., : amount.m - amount.n]
    return torch.ones_like(groups, dtype=torch.bool).scatter(2, order, False).view_as(scores)
