"""The sizes that torch's modules store as attributes, as they follow from the shapes of their tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from pruning_client.errors import MismatchError, Violation

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]
"""The new shapes of a module's own tensors, by name."""


LAYER_NORMS: Final[tuple[type[nn.Module], ...]] = (nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))
"""Norms over the last dims; torch has RMSNorm since 2.4."""


class MisfitError(Exception):
    """A module of this type cannot have these shapes; the text says what is allowed."""


Resizer: TypeAlias = Callable[[Any, Shapes, int | None], dict[str, object]]
"""Takes a module, the new shapes of its tensors, and its `groups` if they are known; returns its new sizes."""


def _linear(_module: nn.Linear, shapes: Shapes, _: int | None) -> dict[str, object]:
    (out_features, in_features) = _dims(shapes, 2)
    _check_bias(shapes, out_features)
    return {"in_features": in_features, "out_features": out_features}


def _conv(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, shapes: Shapes, known: int | None) -> dict[str, object]:
    (out_channels, in_channels, *kernel) = _dims(shapes, module.weight.dim())
    if tuple(kernel) != module.kernel_size:
        raise MisfitError(f"its kernel is {size_text(module.kernel_size)}")
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
        possible = _group_counts(module.groups, module.out_channels, out_channels)
        if in_channels == 1 and module.groups > 1:
            possible.remove(module.groups)  # depthwise: a channel is a group
    return _one_of(possible, out_channels)


def _conv_transpose(
    module: nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d, shapes: Shapes, known: int | None
) -> dict[str, object]:
    """Its weight is (in, out of one group, kernel...)."""
    (in_channels, out_channels, *kernel) = _dims(shapes, module.weight.dim())
    if tuple(kernel) != module.kernel_size:
        raise MisfitError(f"its kernel is {size_text(module.kernel_size)}")
    if known is None and "bias" in shapes and out_channels:
        known = shapes["bias"][0] // out_channels
    groups = _one_of({known} if known else _group_counts(module.groups, module.in_channels, in_channels), in_channels)
    _check_bias(shapes, out_channels * groups)
    return {"in_channels": in_channels, "out_channels": out_channels * groups, "groups": groups}


def _group_counts(groups: int, channels_before: int, channels: int) -> set[int]:
    """Return the possible numbers of groups: as many with fewer channels in each, or fewer groups."""
    each = channels_before // groups
    return {groups} if channels % each else {groups, channels // each}


def _one_of(possible: set[int], channels: int) -> int:
    """Return the number of groups that the channels can be shared out to; refuse none and several."""
    fitting = {groups for groups in possible if groups >= 1 and channels % groups == 0}
    if not fitting:
        raise MisfitError(f"its {channels} channels cannot be shared out to {' or '.join(map(str, possible))} groups")
    if len(fitting) > 1:
        either = " or ".join(str(groups) for groups in sorted(fitting))
        raise MisfitError(f"it may have {either} groups now: say which with groups=")
    return fitting.pop()


def _group_norm(module: nn.GroupNorm, shapes: Shapes, known: int | None) -> dict[str, object]:
    (channels,) = _agreed(set(shapes.values()), shapes)
    counts = {known} if known else _group_counts(module.num_groups, module.num_channels, channels)
    return {"num_channels": channels, "num_groups": _one_of(counts, channels)}


def _prelu(_module: nn.PReLU, shapes: Shapes, _: int | None) -> dict[str, object]:
    return {"num_parameters": _dims(shapes, 1)[0]}


def _recurrent(module: nn.RNNBase, shapes: Shapes, _: int | None) -> dict[str, object]:
    """LSTM, GRU and RNN, whose layers have one hidden size; each gate has its rows."""
    first = module.get_parameter("weight_hh_l0")
    gates = first.shape[0] // module.hidden_size
    rows, inputs = shapes["weight_hh_l0"][0], shapes["weight_ih_l0"][1]
    hidden, projected = rows // gates, shapes["weight_hr_l0"][0] if module.proj_size else 0
    outputs = projected or hidden
    for name, shape in shapes.items():
        is_first = "_l0" in name
        expected = {
            "weight_ih": (gates * hidden, inputs if is_first else outputs * (2 if module.bidirectional else 1)),
            "weight_hh": (gates * hidden, outputs),
            "weight_hr": (projected, hidden),
        }.get(name[:9], (gates * hidden,))
        if shape != expected:
            raise MisfitError(
                f"with {hidden} hidden units, which all layers share, and {gates} gates its {name} is "
                f"{size_text(expected)}"
            )
    return {"input_size": inputs, "hidden_size": hidden, "proj_size": projected}


def _recurrent_cell(module: nn.RNNCellBase, shapes: Shapes, _: int | None) -> dict[str, object]:
    gates = module.weight_hh.shape[0] // module.hidden_size
    hidden, inputs = shapes["weight_hh"][-1], shapes["weight_ih"][-1]
    for name, shape in shapes.items():
        size = {"weight_ih": (gates * hidden, inputs), "weight_hh": (gates * hidden, hidden)}.get(
            name, (gates * hidden,)
        )
        if shape != size:
            raise MisfitError(f"with {hidden} hidden units and {gates} gates its {name} is {size_text(size)}")
    return {"input_size": inputs, "hidden_size": hidden}


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
        raise MisfitError(f"its padding_idx is {module.padding_idx}, which must be below the number of rows")
    return {"num_embeddings": rows, "embedding_dim": width}


def _transposed_linear(_module: nn.Module, shapes: Shapes, _: int | None) -> dict[str, object]:
    """The `Conv1D` of transformers' GPT-2: a Linear whose weight is (in, out)."""
    (in_features, out_features) = _dims(shapes, 2)
    _check_bias(shapes, out_features)
    return {"nx": in_features, "nf": out_features}


RESIZED: Final[Mapping[type[nn.Module], Resizer]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.BatchNorm3d: _norm,
    nn.SyncBatchNorm: _norm,
    nn.InstanceNorm1d: _norm,
    nn.InstanceNorm2d: _norm,
    nn.InstanceNorm3d: _norm,
    nn.GroupNorm: _group_norm,
    nn.ConvTranspose1d: _conv_transpose,
    nn.ConvTranspose2d: _conv_transpose,
    nn.ConvTranspose3d: _conv_transpose,
    nn.PReLU: _prelu,
    **dict.fromkeys(LAYER_NORMS, _layer_norm),
    nn.Embedding: _embedding,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
    nn.RNN: _recurrent,
    nn.LSTMCell: _recurrent_cell,
    nn.GRUCell: _recurrent_cell,
    nn.RNNCell: _recurrent_cell,
}
"""Modules that can be resized, their subclasses included."""

_TRANSPOSED: Final = ("transformers.pytorch_utils", "Conv1D")


def resizer_of(module: nn.Module, path: str, size: str) -> Resizer:
    """Return the function that takes a module's new shapes. Raises: MismatchError for modules of other types."""
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
        raise MisfitError(
            f"the module has no plain weight, but {', '.join(shapes)}; undo what pruned or wraps it first"
        )
    if len(weight) != dims:
        raise MisfitError(f"its weight has {dims} dims")
    return weight


def _check_bias(shapes: Shapes, size: int) -> None:
    others = {name: shape for name, shape in shapes.items() if name != "weight"}
    for name, shape in others.items():
        if name != "bias":
            raise MisfitError(f"the module has {name!r} too, which this function does not know")
        if shape != (size,):
            raise MisfitError(f"its bias has {size_text(shape)} entries and its weight {size} rows of output")


def _agreed(distinct: set[Shape], shapes: Shapes, dims: int = 1) -> Shape:
    """Return the one shape that all tensors have."""
    if len(distinct) != 1:
        listed = ", ".join(f"{name} {size_text(shape)}" for name, shape in shapes.items())
        raise MisfitError(f"the module's tensors must be of one shape: {listed}")
    (shape,) = distinct
    if len(shape) != dims:
        raise MisfitError(f"it has {dims} dim{'s' * (dims != 1)}")
    return shape


def size_text(shape: Sequence[int]) -> str:
    """Return a shape as messages show it."""
    return "x".join(str(size) for size in shape) or "a scalar"
