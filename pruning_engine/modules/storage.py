"""How pruning is stored on a module: the parameter `w_orig`, the buffer `w_mask`, the tensor `w`, and a hook.

That is how torch stores it, and what torch's own `remove` and `is_pruned` look for. The hook is the pruning method,
called before each forward. After an error the module is as it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeGuard

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.modules.attention_output import compute_when_read, is_computed_when_read, store_again
from pruning_engine.modules.calls import check_place
from pruning_engine.modules.deep_copies import copyable
from pruning_engine.modules.errors import CallError
from pruning_engine.modules.mask_tensors import laid_out_like
from pruning_proto.names import MASK, ORIG

Method: TypeAlias = torch_prune.BasePruningMethod
"""A pruning method: this engine's, torch's own, or one that somebody wrote against either."""


def tensor_name(method: Method) -> str | None:
    """Return the name of the tensor that a method acts on; None before it was applied."""
    return getattr(method, "_tensor_name", None)


def find_method(module: torch.nn.Module, name: str) -> Method | None:
    """Return the method that prunes `module.name`; None if nothing does.

    Raises: RuntimeError if several do, each by itself.
    """
    found = [hook for hook in module._forward_pre_hooks.values() if _prunes(hook, name)]
    if len(found) > 1:
        raise RuntimeError(
            f"{len(found)} pruning hooks act on {name!r} of {_kind(module)}; remove all but one, "
            f"and apply methods one after the other: they then share a PruningContainer"
        )
    return found[0] if found else None


def parameter_of(module: torch.nn.Module, name: str) -> torch.nn.Parameter:
    """Return the parameter behind `module.name`: `w_orig` if it is pruned, else `w`.

    Raises: ParameterNameError (an AttributeError) if the module has nothing of that name; TypeError if it is not a
    parameter.
    """
    check_place(module, name)
    stored = name if find_method(module, name) is None else name + ORIG
    parameter = module._parameters.get(stored)
    if parameter is None:
        value = getattr(module, name)
        if isinstance(value, torch.nn.Module):
            raise CallError(
                Reason.INVALID_RECIPE,
                f"{name!r} of {_kind(module)} is {type(value).__name__}, a module; give the module itself and the name "
                f"of one of its parameters: {', '.join(value._parameters)}",
                field="name",
            )
        raise TypeError(
            f"{name!r} of {_kind(module)} is {type(value).__name__}, not a parameter; "
            f"parameters that can be pruned: {', '.join(module._parameters)}"
        )
    refuse_without_zero(parameter, name)
    return parameter


def refuse_without_zero(t: torch.Tensor, name: str) -> None:
    """Refuse a tensor of a dtype that has no zero. Raises: MismatchError."""
    if t.dtype is torch.float8_e8m0fnu:
        raise MismatchError(
            Reason.UNPRUNABLE_DTYPE, f"{name!r} is float8_e8m0fnu, which has no zero to prune to", tensor=name
        )


def mask_of(module: torch.nn.Module, name: str) -> torch.Tensor | None:
    """Return the mask of `module.name`; None if it is not pruned."""
    return None if find_method(module, name) is None else module.get_buffer(name + MASK)


def masked_weight(module: torch.nn.Module, method: Method) -> torch.Tensor:
    """Return the weight under its mask as the method applies it."""
    weight: torch.Tensor = method.apply_mask(module)  # type: ignore[no-untyped-call]  # torch's class
    return weight


def computed_mask(method: Method, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
    """Return the mask that the method computes."""
    mask: torch.Tensor = method.compute_mask(t, default_mask=default_mask)  # type: ignore[no-untyped-call]
    return mask


def attach(module: torch.nn.Module, name: str, method: Method, mask: torch.Tensor) -> None:
    """Store a mask, the weight under it, and the method as the one hook of `module.name`."""
    orig = parameter_of(module, name)
    if name in module._parameters and hasattr(module, name + ORIG):
        raise MismatchError(
            Reason.NAME_COLLISION,
            f"{_kind(module)} has {name + ORIG!r} already, where pruning {name!r} would keep its parameter; rename it",
            tensor=name + ORIG,
        )
    with _restored_on_error(module, name):
        if name in module._parameters:
            module.register_parameter(name + ORIG, orig)
            del module._parameters[name]
        compute_when_read(module, name)
        module.register_buffer(name + MASK, laid_out_like(orig, mask))
        refresh(module, name, method)
        _store_hook(module, name, method)


def refresh(module: torch.nn.Module, name: str, method: Method) -> None:
    """Set `module.name` to the weight under its mask, as the method has it."""
    if is_computed_when_read(module):
        return
    weight = masked_weight(module, method)
    setattr(module, name, copyable(weight, getattr(module, name + ORIG), getattr(module, name + MASK)))


def detach(module: torch.nn.Module, name: str, weight: torch.Tensor) -> None:
    """Make `weight` the value of the plain parameter `module.name`, and forget the mask. The hook stays."""
    orig = module._parameters.pop(name + ORIG)
    if orig is None:
        raise TypeError(f"{name + ORIG!r} of {_kind(module)} is None; nothing can be removed from it")
    orig.data = weight.detach()
    delattr(module, name)
    del module._buffers[name + MASK]
    store_again(module)
    setattr(module, name, orig)


def drop_hook(module: torch.nn.Module, method: Method) -> None:
    """Forget a hook."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if hook is method:
            del module._forward_pre_hooks[key]


def _prunes(hook: object, name: str) -> TypeGuard[Method]:
    return isinstance(hook, Method) and tensor_name(hook) == name


def _store_hook(module: torch.nn.Module, name: str, method: Method) -> None:
    hooks = module._forward_pre_hooks
    key = next((key for key, hook in hooks.items() if _prunes(hook, name)), None)
    if key is None:
        module.register_forward_pre_hook(method)
    else:
        hooks[key] = method


@contextmanager
def _restored_on_error(module: torch.nn.Module, name: str) -> Iterator[None]:
    value = getattr(module, name)
    tables: tuple[dict[Any, Any], ...] = (module._parameters, module._buffers, module._forward_pre_hooks)
    before, kind = [dict(table) for table in tables], type(module)
    try:
        yield
    except BaseException:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)
        module.__class__ = kind
        module.__dict__.pop(name, None)
        setattr(module, name, value)  # which also mends the list that recurrent modules keep beside
        raise


def _kind(module: torch.nn.Module) -> str:
    return type(module).__name__
