"""torch's functions on one tensor of one module: each returns the module.

What they leave on the module is described in storage.py. `global_unstructured` has a file of its own.
"""

from typing import TypeVar

import torch

from pruning_engine.modules.calls import check_is_module, shows_right_call
from pruning_engine.modules.channel_methods import LnStructured, RandomStructured
from pruning_engine.modules.entry_methods import L1Unstructured, RandomUnstructured
from pruning_engine.modules.mask_methods import CustomFromMask, Identity
from pruning_engine.modules.storage import Method, drop_hook, find_method, tensor_name

Module = TypeVar("Module", bound=torch.nn.Module)


@shows_right_call("identity({place})")
def identity(module: Module, name: str) -> Module:
    """Store `module.name` as a pruned parameter, with a mask of ones."""
    Identity.apply(module, name)
    return module


@shows_right_call("random_unstructured({place}, amount=0.5)")
def random_unstructured(module: Module, name: str, amount: float, *, seed: int | None = None) -> Module:
    """Prune entries at random. `seed`: see RandomUnstructured."""
    RandomUnstructured.apply(module, name, amount, seed=seed)
    return module


@shows_right_call("l1_unstructured({place}, amount=0.5)")
def l1_unstructured(module: Module, name: str, amount: float, importance_scores: torch.Tensor | None = None) -> Module:
    """Prune the entries of least magnitude, or of least importance if scores are given."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


@shows_right_call("random_structured({place}, amount=0.5, dim=0)")
def random_structured(module: Module, name: str, amount: float, dim: int, *, seed: int | None = None) -> Module:
    """Prune channels along `dim` at random. `seed`: see RandomStructured."""
    RandomStructured.apply(module, name, amount, dim, seed=seed)
    return module


@shows_right_call("ln_structured({place}, amount=0.5, n=2, dim=0)")
def ln_structured(  # noqa: PLR0913, PLR0917 - torch's signature
    module: Module,
    name: str,
    amount: float,
    n: float | str,
    dim: int,
    importance_scores: torch.Tensor | None = None,
) -> Module:
    """Prune the channels along `dim` of least Ln norm, of the weight or of given scores."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


@shows_right_call("custom_from_mask({place}, mask)")
def custom_from_mask(module: Module, name: str, mask: torch.Tensor) -> Module:
    """Prune what a mask marks 0."""
    CustomFromMask.apply(module, name, mask)
    return module


@shows_right_call("remove({place})")
def remove(module: Module, name: str) -> Module:
    """Make pruning final: `module.name` is a plain parameter again, with +0.0 where entries are pruned.

    From then on nothing holds the zeros: an optimizer's next step revives them, unless `hold_masks` is asked to.
    Raises: ValueError if `module.name` is not pruned.
    """
    check_is_module(module)
    method = find_method(module, name)
    if method is None:
        problem = f"{name!r} of {type(module).__name__} is not pruned, so no pruning can be removed from it"
        raise ValueError(f"{problem}{_pruned_in(module)}")
    method.remove(module)
    drop_hook(module, method)
    return module


@shows_right_call("is_pruned(model)")
def is_pruned(module: torch.nn.Module) -> bool:
    """Whether the module or one within it has a tensor that is pruned."""
    check_is_module(module)
    hooks = (hook for each in module.modules() for hook in each._forward_pre_hooks.values())
    return any(isinstance(hook, Method) for hook in hooks)


def _pruned_in(module: torch.nn.Module) -> str:
    """Return a hint at what is pruned in a module."""
    found = [
        f"{path}.{tensor_name(hook)}".lstrip(".")
        for path, each in module.named_modules()
        for hook in each._forward_pre_hooks.values()
        if isinstance(hook, Method)
    ]
    return f"; pruned in it: {', '.join(found)} (give the module that owns it)" if found else ""
