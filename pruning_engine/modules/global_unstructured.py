"""One amount shared out over many tensors of many modules.

This engine's methods rank the entries of all tensors where they are, with no concatenation. Any other
unstructured method is shown them all in one row. A tied tensor counts once, and each module gets a mask of its own.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import torch

from pruning_engine.checkpoints.shared_tensors import place_of
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.modules.base_method import PruningContainer, combined
from pruning_engine.modules.calls import check_tensor, pairs, shows_right_call
from pruning_engine.modules.entry_methods import EntryMethod, RankedTensor
from pruning_engine.modules.errors import CallError, ShapeError
from pruning_engine.modules.mask_methods import CustomFromMask
from pruning_engine.modules.mask_tensors import mask_dtype, masked, on_device, packed, times_, write_mask
from pruning_engine.modules.storage import Method, attach, find_method, mask_of, parameter_of, tensor_name

Place: TypeAlias = tuple[torch.nn.Module, str]

_EXAMPLE: Final = 'global_unstructured([(model.linear, "weight")], pruning_method=L1Unstructured, amount=0.5)'


@shows_right_call(_EXAMPLE)
def global_unstructured(
    parameters: Iterable[Place],
    pruning_method: Callable[..., Method],
    importance_scores: Mapping[Place, torch.Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune the least important entries of all the tensors together; equal ones in the order of `parameters`.

    `pruning_method`: an unstructured method's class; `kwargs`, such as `amount`, are its own. `importance_scores`,
    by (module, name), are ranked instead of the weights; those of a tied tensor count by any of its names. Where
    selection fails, no module has changed.

    Raises: TypeError for a method that is not unstructured; MismatchError, CheckpointError, see errors.py.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be an iterable of (module, name), not {type(parameters).__name__}")
    if importance_scores is not None and not isinstance(importance_scores, Mapping):
        raise TypeError(
            f"importance_scores must be a dict from (module, name) to tensor, not {type(importance_scores).__name__}"
        )
    method = _unstructured(pruning_method, kwargs)
    slots = _slots(parameters, importance_scores or {})
    first = _first_of_ties(slots)
    unique = [slot for slot, leader in zip(slots, first, strict=True) if slot is leader]
    ranked = [_with_scores_of_ties(leader, slots, first) for leader in unique]
    masks = dict(zip(map(id, unique), _masks(method, ranked), strict=True))
    for slot, leader in zip(slots, first, strict=True):
        mask = masks[id(leader)]
        _attach(slot, mask if slot is leader else mask.clone())


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """One of the tensors: where it is, the parameter behind it, its prior mask, and scores for it."""

    module: torch.nn.Module
    name: str
    weight: torch.nn.Parameter
    mask: torch.Tensor | None
    scores: torch.Tensor | None


def _unstructured(pruning_method: Callable[..., Method], kwargs: Mapping[str, Any]) -> Method:
    if isinstance(pruning_method, Method) or not callable(pruning_method):
        raise CallError(
            Reason.INVALID_RECIPE,
            f"pruning_method is the class of a method, and its arguments follow, got {type(pruning_method).__name__}; "
            f"the call is {_EXAMPLE}",
            field="pruning_method",
        )
    try:
        inspect.signature(pruning_method).bind(**kwargs)
    except TypeError as error:
        name = getattr(pruning_method, "__name__", type(pruning_method).__name__)
        raise CallError(Reason.INVALID_RECIPE, f"{name}: {error}; the call is {_EXAMPLE}") from error
    method = pruning_method(**kwargs)
    kind = getattr(method, "PRUNING_TYPE", None)
    if kind != "unstructured":
        raise TypeError(
            f"only a method of PRUNING_TYPE 'unstructured' can prune globally; {type(method).__name__} has {kind!r}"
        )
    return method


def _slots(parameters: Iterable[Place], scores: Mapping[Place, torch.Tensor]) -> list[_Slot]:
    places = list(dict.fromkeys(pairs(parameters)))
    if not places:
        raise MismatchError(Reason.SELECTS_NOTHING, "parameters is empty: there is nothing to prune")
    return [_slot(module, name, scores.get((module, name))) for module, name in places]


def _slot(module: torch.nn.Module, name: str, scores: torch.Tensor | None) -> _Slot:
    weight = parameter_of(module, name)
    if scores is not None:
        check_tensor(scores, "importance_scores")
    if scores is not None and scores.shape != weight.shape:
        raise ShapeError(
            Reason.SHAPE_MISMATCH,
            f"importance_scores of {name!r} of {type(module).__name__} have shape {list(scores.shape)}; "
            f"they must have the parameter's, {list(weight.shape)}",
            field="importance_scores",
            tensor=name,
        )
    return _Slot(module, name, weight, mask_of(module, name), scores)


def _first_of_ties(slots: Sequence[_Slot]) -> list[_Slot]:
    """For each slot the first one that is the same weight under the same mask: often itself."""
    by_place: dict[object, list[_Slot]] = {}
    result = []
    for slot in slots:
        same_weight = by_place.setdefault(place_of(slot.weight) if slot.weight.numel() else id(slot), [])
        leader = next((other for other in same_weight if _same_mask(slot.mask, other.mask)), slot)
        if leader is slot:
            same_weight.append(slot)
        result.append(leader)
    return result


def _with_scores_of_ties(leader: _Slot, slots: Sequence[_Slot], first: Sequence[_Slot]) -> _Slot:
    """Return the leader with the first scores that were given for it under any of its names."""
    if leader.scores is not None:
        return leader
    tied = (slot.scores for slot, its_leader in zip(slots, first, strict=True) if its_leader is leader)
    return replace(leader, scores=next((scores for scores in tied if scores is not None), None))


def _same_mask(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


def _masks(method: Method, slots: Sequence[_Slot]) -> list[torch.Tensor]:
    if isinstance(method, EntryMethod) and method.ranks_alone:
        return _selected(method, slots)
    return _computed(method, slots)


def _selected(method: EntryMethod, slots: Sequence[_Slot]) -> list[torch.Tensor]:
    priors = [PackedMask.full(slot.weight.numel()) if slot.mask is None else packed(slot.mask == 1) for slot in slots]
    ranked = [
        RankedTensor(slot.weight if slot.scores is None else slot.scores, prior, f"{index}.{slot.name}")
        for index, (slot, prior) in enumerate(zip(slots, priors, strict=True))
    ]
    kept = method.select(ranked)
    return [_mask(slot, after, before) for slot, after, before in zip(slots, kept, priors, strict=True)]


def _mask(slot: _Slot, kept: PackedMask, prior: PackedMask) -> torch.Tensor:
    weight, kept = slot.weight, on_device(kept, slot.weight.device)
    if slot.mask is None:
        return write_mask(kept, weight.shape, weight.dtype, weight.device)
    result = write_mask(kept.add_pruned_(prior), weight.shape, mask_dtype(weight, slot.mask), weight.device)
    return times_(result, slot.mask.to(result.dtype))


def _computed(method: Method, slots: Sequence[_Slot]) -> list[torch.Tensor]:
    """The masks of a method that is somebody's own: on all entries in one row."""
    rows = torch.cat([_importance(slot).reshape(-1) for slot in slots])
    prior = torch.cat([_prior(slot).reshape(-1) for slot in slots])
    container = PruningContainer()
    container._tensor_name = tensor_name(method)
    container.add_pruning_method(method)
    parts = torch.split(container.compute_mask(rows, prior), [slot.weight.numel() for slot in slots])
    return [_own_copy(slot, part) for slot, part in zip(slots, parts, strict=True)]


def _importance(slot: _Slot) -> torch.Tensor:
    if slot.scores is not None:
        return slot.scores.detach()
    weight = slot.weight.detach()
    return weight if slot.mask is None else masked(weight, slot.mask)


def _prior(slot: _Slot) -> torch.Tensor:
    return torch.ones_like(slot.weight, requires_grad=False) if slot.mask is None else slot.mask


def _own_copy(slot: _Slot, part: torch.Tensor) -> torch.Tensor:
    dtype = slot.weight.dtype if slot.mask is None else mask_dtype(slot.weight, slot.mask)
    return part.view(slot.weight.shape).to(dtype, copy=True)


def _attach(slot: _Slot, mask: torch.Tensor) -> None:
    method = CustomFromMask(mask)
    method._tensor_name = slot.name
    attach(slot.module, slot.name, combined(find_method(slot.module, slot.name), method), mask)
