"""The papers' algorithms in plain torch, as published: what `calibrated_speed` compares with."""

import torch

Tensor = torch.Tensor


def sparsegpt(weight: Tensor, matrix: Tensor, sparsity: float = 0.5, block: int = 128) -> Tensor:
    """SparseGPT's `fasterprune` for unstructured sparsity. Source: Frantar, Alistarh 2023, and their published code."""
    weight, matrix = weight.clone(), matrix.clone()
    columns = weight.shape[1]
    dead = torch.diag(matrix) == 0
    matrix[dead, dead] = 1
    weight[:, dead] = 0
    places = torch.arange(columns)
    matrix[places, places] += 0.01 * torch.mean(torch.diag(matrix))
    matrix = torch.linalg.cholesky(matrix)
    matrix = torch.cholesky_inverse(matrix)
    inverse = torch.linalg.cholesky(matrix, upper=True)
    for first in range(0, columns, block):
        last = min(first + block, columns)
        part, part_inverse = weight[:, first:last].clone(), inverse[first:last, first:last]
        pruned, errors = torch.zeros_like(part), torch.zeros_like(part)
        scores = part**2 / torch.diag(part_inverse).reshape((1, -1)) ** 2
        threshold = torch.sort(scores.flatten())[0][int(scores.numel() * sparsity)]
        mask = scores <= threshold
        for at in range(last - first):
            column, diagonal = part[:, at], part_inverse[at, at]
            kept = column.clone()
            kept[mask[:, at]] = 0
            pruned[:, at] = kept
            error = (column - kept) / diagonal
            part[:, at:] -= error.unsqueeze(1).matmul(part_inverse[at, at:].unsqueeze(0))
            errors[:, at] = error
        weight[:, first:last] = pruned
        weight[:, last:] -= errors.matmul(inverse[first:last, last:])
    return weight


def cg_products(weight: Tensor, matrix: Tensor, steps: int) -> None:
    """The products that `steps` steps of conjugate gradients need, alone: one a step and one before."""
    result = torch.empty_like(weight)
    for _ in range(steps + 1):
        torch.matmul(weight, matrix, out=result)


def cg_refit(weight: Tensor, keep: Tensor, matrix: Tensor, start: Tensor, steps: int) -> Tensor:
    """Masked conjugate gradients with the diagonal as preconditioner. Source: Meng et al. 2024, arXiv:2406.07831."""
    penalty = 0.001 * torch.diag(matrix).mean()
    diagonal = torch.diag(matrix) + penalty
    solution = start * keep
    residual = (weight @ matrix) * keep - ((solution @ matrix) * keep + penalty * solution)
    scaled = residual / diagonal
    direction, products = scaled.clone(), (residual * scaled).sum(1, keepdim=True)
    for _ in range(steps):
        image = (direction @ matrix) * keep + penalty * direction
        step = products / (direction * image).sum(1, keepdim=True)
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        products, before = (residual * scaled).sum(1, keepdim=True), products
        direction = scaled + products / before * direction
    return solution


def swaps(weight: Tensor, keep: Tensor, matrix: Tensor, steps: int = 50, candidates: int = 48) -> Tensor:
    """The best swap of each row, again and again. Source: SparseSwaps 2025, arXiv:2512.10922; all rows at once."""
    keep, diagonal, rows = keep.clone(), torch.diag(matrix), torch.arange(len(weight))
    image = (weight * ~keep) @ matrix
    for _ in range(steps):
        squares = weight**2 * diagonal
        costs = torch.where(keep, 2 * weight * image + squares, torch.inf)
        gains = torch.where(keep, torch.inf, -2 * weight * image + squares)
        cost, to_prune = costs.topk(candidates, dim=1, largest=False)
        gain, to_restore = gains.topk(candidates, dim=1, largest=False)
        pairs = matrix[to_prune[:, :, None], to_restore[:, None, :]]
        weights = weight.gather(1, to_prune)[:, :, None] * weight.gather(1, to_restore)[:, None, :]
        change, best = (cost[:, :, None] + gain[:, None, :] - 2 * weights * pairs).flatten(1).min(1)
        pruned = to_prune[rows, best // candidates]
        restored = to_restore[rows, best % candidates]
        active = change < 0
        if not bool(active.any()):
            break
        row, pruned, restored = rows[active], pruned[active], restored[active]
        keep[row, pruned], keep[row, restored] = False, True
        image[row] += weight[row, pruned, None] * matrix[pruned] - weight[row, restored, None] * matrix[restored]
    return keep
