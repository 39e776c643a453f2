"""Smaller tensors loaded into a model that was built at its old size: its modules are resized, then it loads.

Resized are torch's modules whose sizes follow from the shapes of their tensors: `module_sizes` lists them. If a
model's own code stores sizes, as attention stores its number of heads, build the model from a configuration with the
new sizes.
The invariant: everything that can be refused is refused before anything is changed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pruning_client.errors import MismatchError, Violation
from pruning_client.torch.module_sizes import MisfitError, Shape, resizer_of, size_text


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """The names that did not match, as torch's `load_state_dict` returns them; both are empty if `strict`.

    Example:
        >>> load_pruned(model, model.state_dict())
        LoadedKeys(missing_keys=(), unexpected_keys=())
    """

    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]


def load(model: nn.Module, tensors: Mapping[str, Tensor], groups: Mapping[str, int], strict: bool) -> LoadedKeys:
    """Resize and load, or refuse and leave the model unchanged; `groups` are those of convolutions, by their paths.

    Raises: MismatchError, TypeError; see `pruning_client.torch.load_pruned`.
    """
    current = _state_of(model)
    keys = _compared(current, tensors)
    if strict and (keys.missing_keys or keys.unexpected_keys):
        raise _unmatched(model, keys)
    shapes = _shapes(current, tensors)
    changes = _changes(model, current, shapes, groups)
    replaced = {id(current[name]): _resized(current[name], shape) for name, shape in shapes.items()}
    undo = _put_in_place(model, replaced, changes)
    try:
        model.load_state_dict({name: tensors[name] for name in current if name in tensors}, strict=False)
    except BaseException:
        undo()
        raise
    return keys


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model, not detached.

    Raises: MismatchError for a tensor that nothing can be loaded into.
    """
    current = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    for name, tensor in current.items():
        if is_lazy(tensor):
            raise _error(name, "it has no shape before its lazy module's first input; run the module once")
        if tensor.is_meta:
            raise _error(name, "it is on the meta device and holds nothing; `model.to_empty(device=...)` first")
    return current


def _compared(current: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> LoadedKeys:
    """Compare names; of a tied parameter one name is enough, because a file holds it once."""
    loaded = {id(current[name]) for name in tensors if name in current}
    return LoadedKeys(
        missing_keys=tuple(name for name, tensor in current.items() if id(tensor) not in loaded),
        unexpected_keys=tuple(name for name in tensors if name not in current),
    )


def _shapes(current: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the new shape of each tensor that changes its shape, under all names of tied ones."""
    new: dict[int, tuple[str, Shape]] = {}
    for name, tensor in tensors.items():
        if name in current:
            _check_loadable(name, current[name], tensor)
            first, shape = new.setdefault(id(current[name]), (name, tuple(tensor.shape)))
            if shape != tuple(tensor.shape):
                problem = f"it is {size_text(tensor.shape)}, and is tied here to {first!r}, which is {size_text(shape)}"
                raise _error(name, problem)
    sizes = {name: new[id(tensor)][1] for name, tensor in current.items() if id(tensor) in new}
    return {name: shape for name, shape in sizes.items() if shape != tuple(current[name].shape)}


def _check_loadable(name: str, target: Tensor, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        kind = type(tensor).__name__
        raise TypeError(f"{name!r} is not a torch tensor but {kind}; `result.to_torch()` gives torch's")
    if tensor.is_complex() and not target.is_complex():
        raise _error(name, f"it comes as {tensor.dtype} and is {target.dtype} here, which holds no imaginary parts")


@dataclass(frozen=True, slots=True)
class _Change:
    """The new sizes that a module stores as attributes, by name."""

    module: nn.Module
    attributes: Mapping[str, object]


def _changes(
    model: nn.Module, current: Mapping[str, Tensor], shapes: Mapping[str, Shape], groups: Mapping[str, int]
) -> list[_Change]:
    """Return the change of each module that owns a tensor of a new shape. Raises: MismatchError if it has none."""
    changes = []
    for path in dict.fromkeys(name.rpartition(".")[0] for name in shapes):
        module = model.get_submodule(path)
        own = {name: each for name in _own_names(module) if (each := f"{path}.{name}" if path else name) in current}
        now = {name: tuple(current[full].shape) for name, full in own.items()}
        wanted = {name: shapes.get(full, now[name]) for name, full in own.items()}
        changed = next(name for name in wanted if wanted[name] != now[name])
        size = f"{own[changed]!r} is {size_text(now[changed])} here and comes as {size_text(wanted[changed])}"
        resize = resizer_of(module, path, size)
        try:
            changes.append(_Change(module, resize(module, wanted, groups.get(path))))
        except MisfitError as error:
            raise _error(own[changed], f"{size}, but {error}") from error
    return changes


def _own_names(module: nn.Module) -> Iterator[str]:
    yield from (name for name, each in module.named_parameters(recurse=False, remove_duplicate=False))
    yield from (name for name, each in module.named_buffers(recurse=False, remove_duplicate=False))


def _resized(tensor: Tensor, shape: Shape) -> Tensor:
    """Return a tensor of another shape and the same dtype, device and kind."""
    new = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new, requires_grad=tensor.requires_grad)
    return new


def _put_in_place(model: nn.Module, replaced: Mapping[int, Tensor], changes: Sequence[_Change]) -> Callable[[], None]:
    """Set new tensors, under each of their names, and sizes; return a function that undoes all of it."""
    holders: list[dict[str, Any]] = [
        held for module in model.modules() for held in (module._parameters, module._buffers)
    ]
    before = [(held, name, tensor) for held in holders for name, tensor in held.items() if id(tensor) in replaced]
    attributes = [(change.module, name, value) for change in changes for name, value in change.attributes.items()]
    old = [(module, name, getattr(module, name)) for module, name, _ in attributes if hasattr(module, name)]
    for held, name, tensor in before:
        held[name] = replaced[id(tensor)]
    for module, name, value in attributes:
        setattr(module, name, value)
    _list_weights_again(model)

    def undo() -> None:
        for held, name, tensor in before:
            held[name] = tensor
        for module, name, value in old:
            with suppress(AttributeError):
                setattr(module, name, value)
        _list_weights_again(model)

    return undo


def _list_weights_again(model: nn.Module) -> None:
    """Make recurrent modules, which keep a list of their weights beside, list those that they have now."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()


def _unmatched(model: nn.Module, keys: LoadedKeys) -> MismatchError:
    """Return the error about missing and unexpected names, in the words of torch's `load_state_dict`."""
    lines = []
    if keys.unexpected_keys:
        lines.append(f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}.")
    if keys.missing_keys:
        lines.append(f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}.")
    return MismatchError(
        f"Error(s) in loading state_dict for {type(model).__name__}: {' '.join(lines)}",
        violations=[
            *(Violation(f'tensors["{name}"]', "unexpected") for name in keys.unexpected_keys),
            *(Violation(f'tensors["{name}"]', "missing") for name in keys.missing_keys),
        ],
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _error(name: str, problem: str) -> MismatchError:
    return MismatchError(
        f"tensor {name!r} cannot be loaded: {problem}",
        metadata={"tensor": name},
        violations=[Violation(f'tensors["{name}"]', problem)],
    )
