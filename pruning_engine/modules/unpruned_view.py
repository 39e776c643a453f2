"""What a method is shown of a tensor that is pruned already, by its PRUNING_TYPE, and how its mask is put back."""

from typing import TypeAlias

import torch

from pruning_engine.modules.amounts import validate_pruning_dim
from pruning_engine.modules.mask_tensors import mask_dtype
from pruning_engine.modules.storage import Method, computed_mask

_Index: TypeAlias = torch.Tensor | tuple[slice | torch.Tensor, ...]


def mask_of_unpruned(method: Method, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mask that follows `mask`: the method's own on what is unpruned, the prior one elsewhere.

    Raises: AttributeError if a structured method has no `dim`; ValueError for a PRUNING_TYPE that torch does not have.
    """
    left = _index_of_unpruned(method, t, mask)
    partial = computed_mask(method, t[left], mask[left])
    result = mask.to(mask_dtype(t, mask), copy=True)
    result[left] = partial.to(result.dtype)
    return result


def unpruned_channels(mask: torch.Tensor, dim: int) -> torch.Tensor:
    """Mark the channels along `dim` that have an unpruned entry. Shape: any -> bool [channels]."""
    channels = mask.shape[dim]
    return (mask != 0).movedim(dim, 0).reshape(channels, mask.numel() // max(1, channels)).any(dim=1)


def _index_of_unpruned(method: Method, t: torch.Tensor, mask: torch.Tensor) -> _Index:
    match getattr(method, "PRUNING_TYPE", None):
        case "unstructured":
            return mask == 1
        case "structured":
            return _channel_index(method, t, mask)
        case "global":
            return (slice(None),) * t.dim()
        case other:
            raise ValueError(
                f"{type(method).__name__} has PRUNING_TYPE {other!r}; allowed: 'unstructured', 'structured', 'global'"
            )


def _channel_index(method: Method, t: torch.Tensor, mask: torch.Tensor) -> _Index:
    dim = getattr(method, "dim", None)
    if dim is None:
        raise AttributeError(f"{type(method).__name__} has PRUNING_TYPE 'structured' and needs an attribute 'dim'")
    validate_pruning_dim(t, dim)
    index: list[slice | torch.Tensor] = [slice(None)] * t.dim()
    index[dim] = unpruned_channels(mask, dim)
    return tuple(index)
