"""Smaller tensors loaded into a model that was built at its old size: its modules are resized, then it loads.

Resized are torch's modules whose sizes follow from the shapes of their tensors: `RESIZED` lists them. If a model's own
code stores sizes, as attention stores its number of heads, build the model from a configuration with the new sizes.
The invariant: everything that can be refused is refused before anything is changed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from pruning_client.errors import MismatchError, Violation

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]
"""The new shapes of a module's own tensors, by name."""


LAYER_NORMS: Final[tuple[type[nn.Module], ...]] = (nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))
"""Norms over the last dims; torch has RMSNorm since 2.4."""


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """The names that did not match, as torch's `load_state_dict` returns them; both are empty if `strict`."""

    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]


class _MisfitError(Exception):
    """A module of this type cannot have these shapes; the text says what is allowed."""


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
                problem = f"it is {_size(tensor.shape)}, and is tied here to {first!r}, which is {_size(shape)}"
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
        size = f"{own[changed]!r} is {_size(now[changed])} here and comes as {_size(wanted[changed])}"
        resize = _resizer_of(module, path, size)
        try:
            changes.append(_Change(module, resize(module, wanted, groups.get(path))))
        except _MisfitError as error:
            raise _error(own[changed], f"{size}, but {error}") from error
    return changes


def _own_names(module: nn.Module) -> Iterator[str]:
    yield from (name for name, each in module.named_parameters(recurse=False, remove_duplicate=False))
    yield from (name for name, each in module.named_buffers(recurse=False, remove_duplicate=False))


_Resizer: TypeAlias = Callable[[Any, Shapes, int | None], dict[str, object]]
"""Takes a module, the new shapes of its tensors, and its `groups` if they are known; returns its new sizes."""


def _linear(_module: nn.Linear, shapes: Shapes, _: int | None) -> dict[str, object]:
    (out_features, in_features) = _dims(shapes, 2)
    _check_bias(shapes, out_features)
    return {"in_features": in_features, "out_features": out_features}


def _conv(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, shapes: Shapes, known: int | None) -> dict[str, object]:
    (out_channels, in_channels, *kernel) = _dims(shapes, module.weight.dim())
    if tuple(kernel) != module.kernel_size:
        raise _MisfitError(f"its kernel is {_size(module.kernel_size)}")
    _check_bias(shapes, out_channels)
    groups = _groups_of(module, out_channels, in_channels, known)
    return {"in_channels": in_channels * groups, "out_channels": out_channels, "groups": groups}


def _groups_of(
    module: nn.Conv1d | nn.Conv2d | nn.Conv3d, out_channels: int, in_channels: int, known: int | None
) -> int:
    """Return the number of groups: the known one, else from the shapes; `in_channels` are those of one group."""
    if known is not None:
        possible = {known}
    elif in_channels != module.in_channels // module.groups:
        possible = {module.groups}
    else:  # either whole groups were removed, or the same number of outputs of each
        possible = {module.groups, max(out_channels // (module.out_channels // module.groups), 1)}
        if in_channels == 1 and module.groups > 1:
            possible.remove(module.groups)  # depthwise: a channel is a group
    possible = {groups for groups in possible if groups >= 1 and out_channels % groups == 0}
    if not possible:
        raise _MisfitError(f"its {out_channels} channels cannot be shared out to {known or module.groups} groups")
    if len(possible) > 1:
        either = " or ".join(str(groups) for groups in sorted(possible))
        raise _MisfitError(f"it may have {either} groups now: say which with groups=")
    return possible.pop()


def _norm(_module: _NormBase, shapes: Shapes, _: int | None) -> dict[str, object]:
    sizes = {shape for name, shape in shapes.items() if name != "num_batches_tracked"}
    (size,) = _agreed(sizes, shapes)
    return {"num_features": size}


def _layer_norm(module: nn.LayerNorm, shapes: Shapes, _: int | None) -> dict[str, object]:
    shape = _agreed(set(shapes.values()), shapes, len(module.normalized_shape))
    return {"normalized_shape": shape}


def _embedding(module: nn.Embedding, shapes: Shapes, _: int | None) -> dict[str, object]:
    (rows, width) = _dims(shapes, 2)
    if module.padding_idx is not None and module.padding_idx >= rows:
        raise _MisfitError(f"its padding_idx is {module.padding_idx}, which must be below the number of rows")
    return {"num_embeddings": rows, "embedding_dim": width}


def _transposed_linear(_module: nn.Module, shapes: Shapes, _: int | None) -> dict[str, object]:
    """The `Conv1D` of transformers' GPT-2: a Linear whose weight is (in, out)."""
    (in_features, out_features) = _dims(shapes, 2)
    _check_bias(shapes, out_features)
    return {"nx": in_features, "nf": out_features}


RESIZED: Final[Mapping[type[nn.Module], _Resizer]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.BatchNorm3d: _norm,
    nn.SyncBatchNorm: _norm,
    **dict.fromkeys(LAYER_NORMS, _layer_norm),
    nn.Embedding: _embedding,
}
"""Modules that can be resized, their subclasses included."""

_TRANSPOSED: Final = ("transformers.pytorch_utils", "Conv1D")


def _resizer_of(module: nn.Module, path: str, size: str) -> _Resizer:
    for kind, resize in RESIZED.items():
        if isinstance(module, kind):
            return resize
    if (type(module).__module__, type(module).__name__) == _TRANSPOSED:
        return _transposed_linear
    known = ", ".join(kind.__name__ for kind in RESIZED)
    raise MismatchError(
        f"module {path!r} is a {type(module).__name__}, which cannot be resized: {size}; those that can be are "
        f"{known}. Build the model at its new size, from a configuration that says it",
        metadata={"tensor": path},
        violations=[Violation(f'modules["{path}"]', f"{type(module).__name__} cannot be resized")],
    )


def _dims(shapes: Shapes, dims: int) -> Shape:
    weight = shapes.get("weight")
    if weight is None:
        raise _MisfitError(
            f"the module has no plain weight, but {', '.join(shapes)}; undo what pruned or wraps it first"
        )
    if len(weight) != dims:
        raise _MisfitError(f"its weight has {dims} dims")
    return weight


def _check_bias(shapes: Shapes, size: int) -> None:
    others = {name: shape for name, shape in shapes.items() if name != "weight"}
    for name, shape in others.items():
        if name != "bias":
            raise _MisfitError(f"the module has {name!r} too, which this function does not know")
        if shape != (size,):
            raise _MisfitError(f"its bias has {_size(shape)} entries and its weight {size} rows of output")


def _agreed(distinct: set[Shape], shapes: Shapes, dims: int = 1) -> Shape:
    """Return the one shape that all tensors have."""
    if len(distinct) != 1:
        listed = ", ".join(f"{name} {_size(shape)}" for name, shape in shapes.items())
        raise _MisfitError(f"the module's tensors must be of one shape: {listed}")
    (shape,) = distinct
    if len(shape) != dims:
        raise _MisfitError(f"it has {dims} dim{'s' * (dims != 1)}")
    return shape


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

    def undo() -> None:
        for held, name, tensor in before:
            held[name] = tensor
        for module, name, value in old:
            with suppress(AttributeError):
                setattr(module, name, value)

    return undo


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


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape) or "a scalar"
