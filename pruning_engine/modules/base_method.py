"""What a pruning method is, and what several on one tensor are: BasePruningMethod and PruningContainer.

They are in one file because they know each other: a method applied to a pruned tensor makes a container, and a
container is a method. Both are torch's classes too, so torch's `remove`, `is_pruned` and isinstance checks hold.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import Reason
from pruning_engine.modules.calls import check_tensor
from pruning_engine.modules.errors import ShapeError
from pruning_engine.modules.mask_tensors import masked, pruned
from pruning_engine.modules.storage import (
    Method,
    attach,
    computed_mask,
    detach,
    find_method,
    mask_of,
    masked_weight,
    parameter_of,
    refresh,
    refuse_without_zero,
    tensor_name,
)
from pruning_engine.modules.unpruned_view import mask_of_unpruned
from pruning_proto.names import MASK, ORIG


class BasePruningMethod(torch_prune.BasePruningMethod):
    """A way to decide which entries of a tensor are pruned. Subclasses say how in `compute_mask`.

    `PRUNING_TYPE` says what a method is shown of a tensor that is pruned already: "unstructured", the entries that
    are left, in one row; "structured", the channels along its `dim` that have an entry left; "global", everything.
    """

    PRUNING_TYPE: str
    _tensor_name: str | None = None  # type: ignore[assignment]  # torch leaves it unset until a method is applied

    @abstractmethod
    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        """Return a mask for `t`, which holds the importance of the entries: 0 where `default_mask` is, and more.

        Shape: all three the same.
        """

    def __call__(self, module: torch.nn.Module, inputs: object) -> None:  # noqa: ARG002 - what a forward pre-hook gets
        """Set the module's weight anew, from the parameter that was trained and its mask."""
        refresh(module, self._applied_name(), self)

    def apply_mask(self, module: torch.nn.Module) -> torch.Tensor:
        """Return the weight under its mask. Raises: RuntimeError if this method has not been applied."""
        name = self._applied_name()
        return masked(getattr(module, name + ORIG), getattr(module, name + MASK))

    @classmethod
    def apply(
        cls,
        module: torch.nn.Module,
        name: str,
        *args: Any,
        importance_scores: torch.Tensor | None = None,
        mask_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> Method:
        """Prune `module.name`, on top of what is pruned already; return the hook: this method, or a container.

        `args` and `kwargs` are the method's own. `importance_scores`, of the weight's shape, are ranked in its place.
        `mask_dtype`: of the stored mask; None: a boolean one stays so, any other has the dtype of what was ranked.
        After an error the module is as it was.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        return _apply(method, module, name, importance_scores, mask_dtype)

    def prune(
        self,
        t: torch.Tensor,
        default_mask: torch.Tensor | None = None,
        importance_scores: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return a pruned tensor, no module needed. As in torch, `default_mask` changes nothing in the ranking.

        Shape: all the same.
        """
        refuse_without_zero(t, "t")
        if importance_scores is None:
            importance_scores = t
        _check_shape("importance_scores", importance_scores, t.shape, "tensor t")
        if default_mask is None:
            default_mask = torch.ones_like(t, requires_grad=False, memory_format=torch.contiguous_format)
        return pruned(t, self.compute_mask(importance_scores, default_mask=default_mask))

    def remove(self, module: torch.nn.Module) -> None:
        """Make the pruning final: the parameter holds the pruned weight, with +0.0 where entries are pruned.

        The hook stays; `functional.remove` takes it off too.
        """
        name = self._applied_name()
        weight = self.apply_mask(module).detach()
        mask = getattr(module, name + MASK)
        if type(self).apply_mask is BasePruningMethod.apply_mask:
            weight = pruned(getattr(module, name + ORIG).detach(), mask)
        detach(module, name, weight)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mask that follows a prior one: `compute_mask` on what is unpruned, as `PRUNING_TYPE` says."""
        return mask_of_unpruned(self, t, mask)

    def _applied_name(self) -> str:
        if self._tensor_name is None:
            raise RuntimeError(f"this {type(self).__name__} has not been applied to a module; call its apply first")
        return self._tensor_name


class PruningContainer(BasePruningMethod, torch_prune.PruningContainer):
    """The methods that were applied to one tensor, in order. The last one acts; the mask remembers the others.

    Takes methods, or one iterable of them, all acting on the same tensor.
    """

    def __init__(self, *args: Method | Iterable[Method]) -> None:
        self._pruning_methods: tuple[Method, ...] = ()
        methods = [method for arg in args for method in _methods_of(arg)]
        if methods:
            self._tensor_name = tensor_name(methods[0])
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: object) -> None:
        """Add a method. Raises: TypeError if it is none; ValueError if it acts on another tensor."""
        if not isinstance(method, Method):
            raise TypeError(f"a PruningContainer holds pruning methods, not {type(method).__name__}")
        if tensor_name(method) != self._tensor_name:
            raise ValueError(
                f"this PruningContainer prunes tensor {self._tensor_name!r}; the method to be added prunes "
                f"{tensor_name(method)!r}: one container serves one tensor"
            )
        self._pruning_methods += (method,)

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        """Return the mask that the last method makes of what `default_mask` has left.

        Raises: RuntimeError if the container is empty.
        """
        if not self._pruning_methods:
            raise RuntimeError("this PruningContainer is empty; add a pruning method first")
        last = self._pruning_methods[-1]
        if isinstance(last, BasePruningMethod):
            return last.mask_survivors(t, default_mask)
        return mask_of_unpruned(last, t, default_mask)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the last method returns: a container in a container acts as its last method."""
        return self.compute_mask(t, default_mask=mask)


def combined(old: Method | None, method: Method) -> Method:
    """Return what acts on a tensor when `method` comes after `old`; `old` stays as it is."""
    if old is None:
        return method
    if isinstance(old, PruningContainer):
        container = copy.copy(old)
    elif isinstance(old, torch_prune.PruningContainer):
        container = PruningContainer(*old)
    else:
        container = PruningContainer(old)
    container.add_pruning_method(method)
    return container


def _apply(
    method: BasePruningMethod,
    module: torch.nn.Module,
    name: str,
    importance_scores: torch.Tensor | None,
    mask_dtype: torch.dtype | None,
) -> Method:
    orig = parameter_of(module, name)
    old, prior = find_method(module, name), mask_of(module, name)
    hook = combined(old, method)
    if importance_scores is None:
        # Not `module.name`: an optimizer may have stepped since that was computed.
        importance_scores = orig if old is None else masked_weight(module, old)
    _check_shape("importance_scores", importance_scores, orig.shape, f"parameter {name!r}")
    if prior is None:
        default_mask = torch.ones_like(orig, requires_grad=False, memory_format=torch.contiguous_format)
    else:
        default_mask = prior.detach().clone(memory_format=torch.contiguous_format)
    mask = computed_mask(hook, importance_scores.contiguous(), default_mask)
    attach(module, name, hook, mask if mask_dtype is None else mask.to(mask_dtype))
    return hook


def _check_shape(what: str, tensor: torch.Tensor, shape: torch.Size, of: str) -> None:
    check_tensor(tensor, what)
    if tensor.shape != shape:
        raise ShapeError(
            Reason.SHAPE_MISMATCH,
            f"{what} has shape {list(tensor.shape)}; it must have that of {of}, {list(shape)}",
            field=what,
        )


def _methods_of(arg: Method | Iterable[Method]) -> Iterable[Method]:
    return (arg,) if isinstance(arg, Method) or not isinstance(arg, Iterable) else arg
