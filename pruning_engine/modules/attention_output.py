"""The output projection of `nn.MultiheadAttention`, whose weight is computed when it is read.

The attention never calls `out_proj`; it reads its weight and bias and multiplies by them itself. So no hook of
`out_proj` runs, and a weight that was computed once would stay what it was after a step of an optimizer or after
`load_state_dict`. While a tensor of `out_proj` is pruned, the module is therefore of the class below.
"""

import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import prune as torch_prune

from pruning_proto.names import ORIG


def _computed(name: str) -> property:
    def value(module: torch.nn.Module) -> torch.Tensor | None:
        if name + ORIG not in module._parameters:
            return torch.nn.Module.__getattr__(module, name)  # type: ignore[return-value]
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, torch_prune.BasePruningMethod) and getattr(hook, "_tensor_name", None) == name:
                weight: torch.Tensor = hook.apply_mask(module)  # type: ignore[no-untyped-call]  # torch's class
                return weight
        raise AttributeError(f"{name!r} of {type(module).__name__} is pruned, but the hook that computes it is gone")

    def ignore(module: torch.nn.Module, value: object = None) -> None:
        """Keep nothing: torch's code sets and deletes the attribute, and it is computed here."""

    return property(value, ignore, ignore)


class PrunedOutputProjection(NonDynamicallyQuantizableLinear):
    """An `out_proj` with a pruned weight or bias. As in torch, its parameters have the suffix `_orig`."""

    weight = _computed("weight")
    bias = _computed("bias")


def compute_when_read(module: torch.nn.Module, name: str) -> None:
    """Make an output projection, none of whose tensors was pruned by this engine yet, compute its weights."""
    if type(module) is NonDynamicallyQuantizableLinear:
        module.__class__ = PrunedOutputProjection
    if type(module) is PrunedOutputProjection:
        module.__dict__.pop(name, None)


def is_computed_when_read(module: torch.nn.Module) -> bool:
    """Whether a module computes its pruned weights, so that none is to be stored."""
    return isinstance(module, PrunedOutputProjection)


def store_again(module: torch.nn.Module) -> None:
    """Make an output projection, none of whose tensors is pruned any longer, a plain one again."""
    if type(module) is PrunedOutputProjection and not any(name.endswith(ORIG) for name in module._parameters):
        module.__class__ = NonDynamicallyQuantizableLinear  # type: ignore[assignment]  # mypy has narrowed it
