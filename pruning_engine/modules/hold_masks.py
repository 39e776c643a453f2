"""Keeps plain parameters pruned while they train.

A pruned state dict, or `remove`, leaves zeros that nothing holds: the next optimizer step revives every one of them,
by its gradient, its momentum or its weight decay. With `w_orig` and `w_mask` that cannot happen to the weight,
though `w_orig` drifts under its mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch.utils.hooks import RemovableHandle

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.modules.calls import check_tensor, shows_right_call
from pruning_engine.modules.errors import CallError, ShapeError

_EXAMPLE: Final = "hold_masks(optimizer, {p: p != 0 for p in model.parameters() if p.dim() > 1})"


@dataclass(frozen=True, slots=True, eq=False)
class _ZeroAfterStep:
    """A step hook of optimizers."""

    pruned: list[tuple[torch.Tensor, torch.Tensor]]

    def __call__(self, *_: object) -> None:
        """Zero what is pruned; optimizers also pass what they were called with."""
        self.zero()

    @torch.no_grad()
    def zero(self) -> None:
        for parameter, is_pruned in self.pruned:
            parameter.masked_fill_(is_pruned.to(parameter.device), 0)


@shows_right_call(_EXAMPLE.replace("{", "{{").replace("}", "}}"))
def hold_masks(optimizer: torch.optim.Optimizer, masks: Mapping[torch.Tensor, torch.Tensor]) -> RemovableHandle:
    """Zero what the masks mark 0 or False, now and after each step; return the handle that ends it.

    `masks`: by parameter of the optimizer, each of its parameter's shape; copied. An optimizer that is pickled or
    deep-copied forgets its hooks, as in torch: hold the masks again on the copy.

    Raises: MismatchError for a tensor that the optimizer does not train; ShapeError for a mask of another shape.
    Example: hold_masks(optimizer, {p: p != 0 for p in model.parameters() if p.dim() > 1})
    """
    if not isinstance(optimizer, torch.optim.Optimizer) or not isinstance(masks, Mapping):
        raise CallError(
            Reason.INVALID_RECIPE,
            f"hold_masks takes an optimizer and a mapping, got {type(optimizer).__name__} and {type(masks).__name__}; "
            f"the call is {_EXAMPLE}",
        )
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for position, (parameter, mask) in enumerate(masks.items()):
        check_tensor(parameter, "a key of masks")
        check_tensor(mask, "a mask")
        if id(parameter) not in trained:
            raise MismatchError(
                Reason.UNUSED_COMPANION,
                f"masks: tensor {position}, of shape {list(parameter.shape)}, is none of the optimizer's parameters; "
                f"give masks by the parameters themselves",
                field="masks",
            )
        if mask.shape != parameter.shape:
            raise ShapeError(
                Reason.SHAPE_MISMATCH,
                f"masks: mask {position} has shape {list(mask.shape)}; it must have its parameter's, "
                f"{list(parameter.shape)}",
                field="masks",
            )
    hook = _ZeroAfterStep([(parameter, mask.detach() == 0) for parameter, mask in masks.items()])
    hook.zero()
    return optimizer.register_step_post_hook(hook)
