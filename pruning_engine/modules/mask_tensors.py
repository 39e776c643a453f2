"""Masks as the module face stores them, one element an entry, and weights under them.

Selection works on packed bits (see backend.py). Here those become tensors in fresh memory, which no other mask
shares, and back.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from pruning_engine.kernels.backend import Bits
from pruning_engine.kernels.devices import backend_for


def flat_numbers(t: torch.Tensor) -> torch.Tensor:
    """See a tensor flat in C order, copied only where it lies otherwise; complex numbers by their magnitude."""
    flat = t.detach().resolve_neg().reshape(-1)
    return flat.abs() if flat.is_complex() else flat


def bits_of(flags: torch.Tensor) -> Bits:
    """Pack a boolean tensor."""
    return backend_for(flags.device).pack(flags.reshape(-1))


def write_mask(kept: Bits, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Give a mask tensor of a packed mask, contiguous."""
    backend = backend_for(kept.device)
    size = prod(shape)
    if dtype.is_complex:
        return backend.unpack(kept, size).view(tuple(shape)).to(dtype)
    out = _fresh(size, dtype, kept.device)
    backend.apply(torch.ones((), dtype=dtype, device=kept.device).expand(size), kept, out)
    return out.view(tuple(shape))


def mask_dtype(t: torch.Tensor, prior: torch.Tensor) -> torch.dtype:
    """Give the dtype of a mask that follows a prior one: boolean ones stay so, others take the weight's."""
    return torch.bool if prior.dtype is torch.bool else t.dtype


def laid_out_like(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give the mask in the weight's memory format (channels last, say), so that their product keeps it."""
    if mask.shape != weight.shape or mask.stride() == weight.stride():
        return mask
    return torch.empty_like(weight, dtype=mask.dtype, requires_grad=False).copy_(mask)


def times(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Give the product of two tensors of one dtype, one of them a mask."""
    if _is_float8(one):
        return (one.float() * other.float()).to(one.dtype)
    return one * other


def times_(target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Multiply a tensor by a mask, in place."""
    return target.copy_(times(target, mask.to(target.dtype))) if _is_float8(target) else target.mul_(mask)


def _is_float8(t: torch.Tensor) -> bool:
    """Whether torch may not multiply this: it cannot where one side is a single 8-bit float, expanded or not."""
    return t.dtype.is_floating_point and t.dtype.itemsize == 1


def masked(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give the weight under its mask, for the forward pass: gradients reach the weight where the mask is 1.

    A product, as torch has it; a negative weight leaves -0.0. A boolean mask chooses instead, and leaves +0.0.
    """
    if mask.dtype is torch.bool:
        return torch.where(mask.to(weight.device), weight, weight.new_zeros(()))
    return times(mask.to(weight.device, weight.dtype), weight)


def pruned(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Give the weight with +0.0 wherever the mask is 0, for good."""
    product = masked(weight, mask)
    return torch.where(mask.to(weight.device) == 0, product.new_zeros(()), product)


def _fresh(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.empty(size, dtype=dtype, device=device)
    # numpy asks the kernel for huge pages and torch does not: first touch costs less than half.
    return torch.from_numpy(np.empty(size, f"u{dtype.itemsize}")).view(dtype)
