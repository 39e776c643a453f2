"""Tied tensors of a state dict: several names, one piece of memory. They are pruned once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from pruning_engine.checkpoints.auxiliary_tensors import auxiliary_suffix
from pruning_engine.torch_tensors import TORCH_DTYPES
from pruning_proto.names import MASK, ORIG, SCALED, scale_names

_SCALED: Final = frozenset(TORCH_DTYPES[name] for name in SCALED)


@dataclass(frozen=True, slots=True)
class SharedTensors:
    """`aliases`: another name of a parameter's weight -> its first name. `dropped`: those, and their pairs' masks."""

    aliases: Mapping[str, str]
    dropped: frozenset[str]


def find_shared_tensors(tensors: Mapping[str, torch.Tensor]) -> SharedTensors:
    """Find the parameters that are the same entries of the same memory.

    Auxiliary tensors and scales are never tied, and a masked pair only if both of its parts are: one weight under two
    masks is two parameters.
    """
    scales = {scale for name, tensor in tensors.items() if tensor.dtype in _SCALED for scale in _scale_names(name)}
    masks = {mask for name in tensors if (mask := _pair_mask(name, tensors)) is not None}
    first: dict[object, str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in tensors.items():
        if name in masks or name in scales or auxiliary_suffix(name) is not None or not tensor.numel():
            continue
        mask = _pair_mask(name, tensors)
        identity = (place_of(tensor), place_of(tensors[mask]) if mask is not None else None)
        if first.setdefault(identity, name) != name:
            aliases[name] = first[identity]
    dropped_masks = {mask for name in aliases if (mask := _pair_mask(name, tensors)) is not None}
    return SharedTensors(aliases, frozenset(aliases.keys() | dropped_masks))


def _scale_names(weight: str) -> tuple[str, ...]:
    return (*scale_names(weight), *scale_names(weight.removesuffix(ORIG)))


def _pair_mask(name: str, tensors: Mapping[str, torch.Tensor]) -> str | None:
    plain = name.removesuffix(ORIG)
    mask = plain + MASK
    return mask if plain != name and plain not in tensors and mask in tensors else None


def place_of(tensor: torch.Tensor) -> object:
    """Return where a tensor's entries are: equal for two tensors that are the same entries of the same memory."""
    if tensor.layout is not torch.strided:  # some have neither a storage nor strides
        return id(tensor)
    storage = tensor.untyped_storage().data_ptr()
    return tensor.device, storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
