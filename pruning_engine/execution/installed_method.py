"""A rule whose score is an installed method: its own code decides on the whole tensor, as torch would let it.

Without a prior mask it is shown the tensor, with one what its PRUNING_TYPE says (see unpruned_view.py). Time and memory
are the method's: it sees masks of the weight's dtype, one element per entry. It is interrupted where nobody waits for
its result any more (see interruption.py). Imported only for recipes that have one, since methods are torch's.
"""

import torch

from pruning_engine.errors import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.kernels.backend import NotBinaryError
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.modules.mask_tensors import masked
from pruning_engine.modules.storage import Method, computed_mask
from pruning_engine.modules.unpruned_view import mask_of_unpruned
from pruning_engine.runtime.interruption import run_foreign
from pruning_engine.selection.outcome import Outcome
from pruning_engine.torch_tensors import to_buffer, to_tensor


def outcome_of_method(state: ParameterState, method: Method, field: str) -> Outcome:
    """Prune what the method's mask marks 0. `field`: the place of the score in the recipe.

    Raises: RecipeError if the method fails; MismatchError for a mask of another shape; CheckpointError for one that
        is not 0 and 1.
    """
    try:
        mask = run_foreign(lambda: _mask(state, method))
    except Exception as error:
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"{field}: {type(method).__name__} failed on tensor {state.planned.name!r}: {error}",
            field=field,
            tensor=state.planned.name,
        ) from error
    return Outcome(_packed(state, mask, type(method).__name__).restrict_(state.mask))


def _mask(state: ParameterState, method: Method) -> torch.Tensor:
    weight = to_tensor(state.weight).view(state.planned.shape)
    if state.mask.is_full:
        return computed_mask(method, weight, torch.ones_like(weight))
    prior = to_tensor(state.backend.unpack(state.mask)).view(state.planned.shape).to(weight.dtype)
    return mask_of_unpruned(method, masked(weight, prior), prior)


def _packed(state: ParameterState, mask: torch.Tensor, method: str) -> PackedMask:
    name, shape = state.planned.name, state.planned.shape
    if tuple(mask.shape) != shape:
        raise MismatchError(
            Reason.SHAPE_MISMATCH,
            f"{method} gave a mask of shape {list(mask.shape)} for tensor {name!r} of shape {list(shape)}",
            tensor=name,
        )
    try:
        return state.backend.pack(state.backend.load(to_buffer(mask)))
    except NotBinaryError as error:
        raise CheckpointError(
            Reason.MASK_NOT_BINARY,
            f"{method} gave a mask for tensor {name!r} that holds something other than 0 and 1",
            tensor=name,
        ) from error
