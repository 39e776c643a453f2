"""Layers of the size that LLMs have, pruned: normally distributed weights, of which the smallest are 0."""

from typing import Final

import torch
from torch import Tensor

SIZE: Final = 4096
"""Outputs and inputs: the attention projections of a model of 7 billion parameters. 67 MB of fp32."""

SPARSITIES: Final = (0.5, 0.8, 0.9, 0.95)
BATCHES: Final = (1, 64)
BLOCK: Final = 32


def weights() -> Tensor:
    """Return the layer before pruning, outputs by inputs."""
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 0.02


def inputs(batch: int) -> Tensor:
    """Return a batch of inputs."""
    return torch.randn(batch, SIZE, generator=torch.Generator().manual_seed(batch))


def unstructured(weight: Tensor, sparsity: float) -> Tensor:
    """Return the layer with this part of its weights 0, the smallest of them."""
    return torch.where(weight.abs() <= _cut(weight.abs(), sparsity), 0.0, weight)


def in_blocks(weight: Tensor, sparsity: float) -> Tensor:
    """Return the layer with this part of its blocks of 32 x 32 all 0, the smallest by their norm."""
    blocks = weight.reshape(SIZE // BLOCK, BLOCK, SIZE // BLOCK, BLOCK)
    norms = blocks.square().sum(dim=(1, 3))
    is_kept = norms > _cut(norms, sparsity)
    return torch.where(is_kept[:, None, :, None], blocks, 0.0).reshape(weight.shape)


def _cut(scores: Tensor, sparsity: float) -> Tensor:
    return scores.flatten().kthvalue(int(sparsity * scores.numel())).values
