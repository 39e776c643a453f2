"""Masks as the module interface stores them, one element per entry, and weights under them.

Selection works on packed masks (see packed_mask.py). Here those become tensors in fresh memory, which no other mask
shares, and back.
"""

from collections.abc import Sequence
from math import prod

import torch

from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.devices import backend_for
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.torch_tensors import TORCH_DTYPES, AnyBuffer, name_of, to_buffer, to_tensor


def backend_of(t: torch.Tensor) -> Backend:
    """Return the backend that computes where a tensor is."""
    return backend_for(str(t.device))


def flat_numbers(t: torch.Tensor) -> AnyBuffer:
    """Return a tensor flat in C order, copied only where it lies otherwise; complex numbers by their magnitude."""
    flat = t.detach().resolve_neg().reshape(-1)
    return to_buffer(flat.abs() if flat.is_complex() else flat)


def packed(flags: torch.Tensor) -> PackedMask:
    """Pack a boolean tensor."""
    return backend_of(flags).pack(to_buffer(flags.reshape(-1)))


def on_device(mask: PackedMask, device: torch.device) -> PackedMask:
    """Return a packed mask for the backend of a device."""
    if mask.bits is None:
        return mask
    bits = mask.bits if isinstance(mask.bits, torch.Tensor) else torch.from_numpy(mask.bits)
    return backend_for(str(device)).from_bits(to_buffer(bits.to(device)), mask.entries)


def write_mask(kept: PackedMask, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a mask tensor of a packed mask of this device, contiguous."""
    backend = backend_for(str(device))
    if name_of(dtype) not in TORCH_DTYPES or dtype.is_complex:
        return to_tensor(backend.unpack(kept)).view(tuple(shape)).to(dtype)
    out = backend.empty(name_of(dtype), prod(shape))
    backend.apply(to_buffer(torch.ones((), dtype=dtype, device=device).expand(prod(shape))), kept, out)
    return to_tensor(out).view(tuple(shape))


def mask_dtype(t: torch.Tensor, prior: torch.Tensor) -> torch.dtype:
    """Return the dtype of a mask that follows a prior one: boolean ones stay so, others take the weight's."""
    return torch.bool if prior.dtype is torch.bool else t.dtype


def laid_out_like(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mask in the weight's memory format (channels last, say), so that their product keeps it."""
    if mask.shape != weight.shape or mask.stride() == weight.stride():
        return mask
    return torch.empty_like(weight, dtype=mask.dtype, requires_grad=False).copy_(mask)


def times(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the product of two tensors of one dtype, one of them a mask."""
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
    """Return the weight under its mask, for the forward pass: gradients reach the weight where the mask is 1.

    A product, as in torch; a negative weight leaves -0.0. A boolean mask chooses instead, and leaves +0.0.
    """
    if mask.dtype is torch.bool:
        return torch.where(mask.to(weight.device), weight, weight.new_zeros(()))
    return times(mask.to(weight.device, weight.dtype), weight)


def pruned(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the weight with +0.0 wherever the mask is 0, for good."""
    product = masked(weight, mask)
    return torch.where(mask.to(weight.device) == 0, product.new_zeros(()), product)
