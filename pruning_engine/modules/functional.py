"""torch's functions on one tensor of one module: each returns the module.

What they leave on the module is described in storage.py. `global_unstructured` has a file of its own.
"""

from typing import TypeVar

import torch

from pruning_engine.modules.channel_methods import LnStructured, RandomStructured
from pruning_engine.modules.entry_methods import L1Unstructured, RandomUnstructured
from pruning_engine.modules.mask_methods import CustomFromMask, Identity
from pruning_engine.modules.storage import Method, drop_hook, find_method

Module = TypeVar("Module", bound=torch.nn.Module)


def identity(module: Module, name: str) -> Module:
    """Store `module.name` as a pruned parameter, with a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float, *, seed: int | None = None) -> Module:
    """Prune entries at random. `seed`: see RandomUnstructured."""
    RandomUnstructured.apply(module, name, amount, seed=seed)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: torch.Tensor | None = None) -> Module:
    """Prune the entries of least magnitude, or of least importance if scores are given."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int, *, seed: int | None = None) -> Module:
    """Prune channels along `dim` at random. `seed`: see RandomStructured."""
    RandomStructured.apply(module, name, amount, dim, seed=seed)
    return module


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


def custom_from_mask(module: Module, name: str, mask: torch.Tensor) -> Module:
    """Prune what a mask marks 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """Make pruning final: `module.name` is a plain parameter again, with +0.0 where entries are pruned.

    From then on nothing holds the zeros: an optimizer's next step revives them, unless `hold_masks` is asked to.
    Raises: ValueError if `module.name` is not pruned.
    """
    method = find_method(module, name)
    if method is None:
        raise ValueError(f"{name!r} of {type(module).__name__} is not pruned, so no pruning can be removed from it")
    method.remove(module)
    drop_hook(module, method)
    return module


def is_pruned(module: torch.nn.Module) -> bool:
    """Whether the module or one within it has a tensor that is pruned."""
    hooks = (hook for each in module.modules() for hook in each._forward_pre_hooks.values())
    return any(isinstance(hook, Method) for hook in hooks)
