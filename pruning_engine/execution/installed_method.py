"""A rule whose score is an installed method: its own code decides on the whole tensor, as torch would let it.

Without a prior mask it is shown the tensor, with one what its PRUNING_TYPE says (see survivors.py). Time and memory are
the method's: it sees masks of the weight's dtype, one element an entry.
"""

import torch

from pruning_engine.errors import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.kernels.backend import Bits, NotBinaryError
from pruning_engine.modules.mask_tensors import masked
from pruning_engine.modules.storage import Method, computed_mask
from pruning_engine.modules.unpruned_view import mask_survivors


def keep_by_method(work: ParameterState, method: Method, field: str) -> None:
    """Let fall what the method's mask marks 0. `field`: the place of the score in the recipe.

    Raises: RecipeError if the method fails; MismatchError for a mask of another shape; CheckpointError for one that
        is not 0 and 1.
    """
    try:
        mask = _mask(work, method)
    except Exception as error:
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"{field}: {type(method).__name__} failed on tensor {work.planned.name!r}: {error}",
            field=field,
            tensor=work.planned.name,
        ) from error
    work.keep(_packed(work, mask, type(method).__name__))


def _mask(work: ParameterState, method: Method) -> torch.Tensor:
    weight = work.weight.view(work.planned.shape)
    if work.mask is None:
        return computed_mask(method, weight, torch.ones_like(weight))
    prior = work.backend.unpack(work.mask, work.planned.entries).view(work.planned.shape).to(weight.dtype)
    return mask_survivors(method, masked(weight, prior), prior)


def _packed(work: ParameterState, mask: torch.Tensor, method: str) -> Bits:
    name, shape = work.planned.name, work.planned.shape
    if tuple(mask.shape) != shape:
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"{method} gave a mask of shape {list(mask.shape)} for tensor {name!r} of shape {list(shape)}",
            tensor=name,
        )
    try:
        return work.backend.pack(mask.detach().reshape(-1).to(work.weight.device))
    except NotBinaryError as error:
        raise CheckpointError(
            Reason.MASK_NOT_BINARY,
            f"{method} gave a mask for tensor {name!r} that holds something other than 0 and 1",
            tensor=name,
        ) from error
