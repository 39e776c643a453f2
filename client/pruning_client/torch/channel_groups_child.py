"""The child process of `derive_groups`: coupled channels, found by torch-pruning and then verified.

Reads a pickled module and its inputs from its parent, and writes one JSON object. No other pickle is ever read. Each
group is verified: half of its channels are set to zero, then removed; both must give the same outputs.
"""

import json
import math
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.torch.module_sizes import LAYER_NORMS
from pruning_client.torch.resizing import load

_GRACE_SECONDS: Final = 10
"""How long the parent has to end this process before it ends on its own: the parent may be gone."""

_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS: Final = (nn.modules.batchnorm._NormBase, nn.GroupNorm, *LAYER_NORMS)
_STATISTICS: Final = ("running_mean", "running_var")
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _ChannelSlice:
    """The positions of each unit along one dim of a tensor: `positions` is (units, inner)."""

    tensor: str
    dim: int
    positions: Tensor

    def arguments(self) -> dict[str, Any]:
        """Return it as the arguments of `rules.tie`."""
        return {"tensor": self.tensor, "dim": self.dim, **_compact(self.positions)}


class _UnsupportedGroupError(Exception):
    """A group that a recipe cannot express, and why."""


class _TorchPruningError(Exception):
    """torch-pruning cannot trace a module that runs."""


def main(timeout_seconds: float) -> int:
    """Answer one question; return the exit status."""
    signal.alarm(math.ceil(min(timeout_seconds, 10**8)) + _GRACE_SECONDS)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the module's own code prints is not part of the answer
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small inputs gain nothing from more
    try:
        model, inputs = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent's own
        result = _derived(_Trial(model, inputs))
    except _TorchPruningError as error:
        result = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - reported to the parent
        result = {"error": f"the module failed in the child process ({type(error).__name__}: {error})"}
    with answer:
        json.dump(result, answer)
    return 0


class _Trial:
    """A module and its inputs, to be run with changed channels; in double precision if the module supports it."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self.model = model.cpu().eval().requires_grad_(True)
        self._inputs = _mapped(inputs, lambda tensor: tensor.cpu())
        for name, buffer in model.named_buffers():
            if name.endswith(_STATISTICS):
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
        self._in_double()
        self._tolerance = _TOLERANCE if self._is_double else 1e-4

    @property
    def _is_double(self) -> bool:
        return next((parameter.dtype for parameter in self.model.parameters()), torch.float64) == torch.float64

    def _in_double(self) -> None:
        single = self._inputs
        self.model.double()
        self._inputs = _mapped(single, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
        try:
            self.outputs()
        except Exception:  # noqa: BLE001 - a module that creates tensors of its own dtype
            self.model.float()
            self._inputs = single

    def run(self) -> list[Tensor]:
        """Return all tensors of the module's output that depend on its parameters."""
        if isinstance(self._inputs, Mapping):
            output = self.model(**self._inputs)
        else:
            output = self.model(*self._inputs) if isinstance(self._inputs, list | tuple) else self.model(self._inputs)
        return [tensor for tensor in _leaves(output) if tensor.grad_fn is not None]

    def outputs(self) -> list[Tensor]:
        """Return the same tensors without their autograd graph."""
        return [tensor.detach() for tensor in self.run()]

    def why_not(self, slices: Sequence[_ChannelSlice], units: int) -> str | None:
        """Return why removal is not the same as zeros; None if it is."""
        if units < 2:
            return "it has one unit only"
        pruned = torch.arange(units) % 2 == 1
        state = self.model.state_dict(keep_vars=True)
        coupled = {each.tensor: state[each.tensor].detach().clone() for each in slices}
        problem = _out_of_bounds(coupled, slices)
        if problem is not None:
            return problem
        groups = {path: module.groups for path, module in self.model.named_modules() if isinstance(module, _CONVS)}
        groups |= {path: each.num_groups for path, each in self.model.named_modules() if isinstance(each, nn.GroupNorm)}
        try:
            load(self.model, _zeroed(coupled, slices, pruned), {}, strict=False)
            expected = self.outputs()
            load(self.model, _removed(coupled, slices, pruned), {}, strict=False)
            actual = self.outputs()
        except Exception as error:  # noqa: BLE001 - the module's own code, at a size that it was not made for
            return f"without some of its units the module fails ({str(error).splitlines()[0][:120]})"
        finally:
            load(self.model, coupled, groups, strict=False)
        return self._difference(expected, actual)

    def _difference(self, expected: list[Tensor], actual: list[Tensor]) -> str | None:
        if [tensor.shape for tensor in expected] != [tensor.shape for tensor in actual]:
            return "its units are outputs of the module"
        same = all(
            torch.allclose(a, b, self._tolerance, self._tolerance) for a, b in zip(expected, actual, strict=True)
        )
        return None if same else "to remove its units is not the same as to zero them (heads, or a norm over them)"


def _derived(trial: _Trial) -> dict[str, Any]:
    trial.outputs()  # what the module itself raises is not torch-pruning's
    graph, groups = _traced(trial)
    names = {module: name for name, module in trial.model.named_modules()}
    kept: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for group in groups:
        root, units = names[group[0].dep.target.module], len(group[0].idxs)
        try:
            slices = _slices(group, graph, names, units)
        except _UnsupportedGroupError as error:
            left_out[root] = str(error)
            continue
        problem = trial.why_not(slices, units)
        if problem is None:
            kept.append({"units": units, "ties": [channel_slice.arguments() for channel_slice in slices]})
        else:
            left_out[root] = problem
    return {"groups": kept, "left_out": left_out}


def _traced(trial: _Trial) -> tuple[Any, list[Any]]:
    """Return torch-pruning's graph of the module, and its groups. Raises: _TorchPruningError."""
    import torch_pruning  # type: ignore[import-untyped]  # noqa: PLC0415 - only in this process

    try:
        graph = torch_pruning.DependencyGraph()
        graph.build_dependency(trial.model, None, forward_fn=lambda *_: trial.run(), verbose=False)
        return graph, list(graph.get_all_groups(root_module_types=[*_CONVS, nn.Linear]))
    except Exception as error:
        raise _TorchPruningError(
            f"the module runs, but torch-pruning {version('torch-pruning')} cannot trace it "
            f"({type(error).__name__}: {error}), which is a limit of that package"
        ) from error


def _slices(group: Any, graph: Any, names: Mapping[nn.Module, str], units: int) -> list[_ChannelSlice]:
    """Return where the units of a group are, in each of its tensors. Raises: _UnsupportedGroupError."""
    slices = {}
    places = [list(_places(item.dep.target, item.dep.handler.__name__, graph, names)) for item in group]
    for item, tensors in zip(group, places, strict=True):
        for name, dim in tensors:
            slices[name, dim] = _ChannelSlice(name, dim, _positions(item.idxs, item.root_idxs, units, name))
    return list(slices.values())


def _places(node: Any, handler: str, graph: Any, names: Mapping[nn.Module, str]) -> Iterator[tuple[str, int]]:
    """Return the tensors of one step of the computation, each with the dim of its channels."""
    module = node.module
    if isinstance(module, nn.Parameter):
        yield graph._param_to_name[module], node.pruning_dim
        return
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    own.pop("num_batches_tracked", None)
    if not own:
        return  # an operation without tensors
    path = names[module]
    for name in own:
        dim = _dim(module, name, is_input="in_channels" in handler)
        if dim is not None:
            yield f"{path}.{name}" if path else name, dim


def _dim(module: nn.Module, name: str, *, is_input: bool) -> int | None:
    """Return the dim of one tensor that holds a module's channels; None if it has none.

    Raises: _UnsupportedGroupError.
    """
    if isinstance(module, (nn.Linear, *_CONVS)):
        if isinstance(module, _CONVS) and module.groups not in (1, module.out_channels):
            raise _UnsupportedGroupError("it goes through a convolution of several groups")
        outputs, inputs = (1, 0) if isinstance(module, _TRANSPOSED) else (0, 1)
        if name == "bias":
            return None if is_input else 0
        return inputs if is_input else outputs
    if isinstance(module, _NORMS):
        return 0
    if isinstance(module, nn.PReLU):
        return 0 if module.num_parameters > 1 else None
    if isinstance(module, nn.Embedding):
        return 1
    raise _UnsupportedGroupError(f"it goes through a {type(module).__name__}, which derive_groups does not follow")


def _positions(indices: Sequence[int], roots: Sequence[int], units: int, name: str) -> Tensor:
    """Return the positions of each unit, ascending: (units, inner). Raises: _UnsupportedGroupError if sizes differ."""
    of_unit: list[list[int]] = [[] for _ in range(units)]
    for index, root in zip(indices, roots, strict=True):
        of_unit[root].append(index)
    inner = {len(positions) for positions in of_unit}
    if len(inner) != 1 or 0 in inner or len(set(indices)) != len(indices):
        raise _UnsupportedGroupError(
            f"torch-pruning does not follow it to the end: its units own different numbers of positions in {name!r}"
        )
    return torch.tensor([sorted(positions) for positions in of_unit])


def _compact(positions: Tensor) -> dict[str, Any]:
    """Return positions as offset, outer and inner if they are regular, else as indices."""
    units, per_unit = positions.shape
    offset = int(positions[0, 0])
    for inner in (inner for inner in range(1, per_unit + 1) if per_unit % inner == 0):
        outer = per_unit // inner
        regular = torch.arange(outer * units * inner).view(outer, units, inner).transpose(0, 1).reshape(units, per_unit)
        if torch.equal(positions, offset + regular):
            regular_sizes = {"offset": offset, "outer": outer, "inner": inner}
            return {name: value for name, value in regular_sizes.items() if value != (0 if name == "offset" else 1)}
    return {"indices": positions.flatten().tolist(), "inner": per_unit}


def _out_of_bounds(coupled: Mapping[str, Tensor], slices: Sequence[_ChannelSlice]) -> str | None:
    """Return which positions a tensor does not have: torch-pruning guesses them behind some reshapes."""
    for each in slices:
        size = coupled[each.tensor].shape[each.dim]
        if int(each.positions.max()) >= size:
            return (
                f"torch-pruning does not follow it to the end: dim {each.dim} of {each.tensor!r} has {size} positions"
            )
    return None


def _zeroed(coupled: Mapping[str, Tensor], slices: Sequence[_ChannelSlice], pruned: Tensor) -> dict[str, Tensor]:
    zeroed = {name: tensor.clone() for name, tensor in coupled.items()}
    for each in slices:
        if not each.tensor.endswith(_STATISTICS):
            zeroed[each.tensor].index_fill_(each.dim, each.positions[pruned].flatten(), 0.0)
    return zeroed


def _removed(coupled: Mapping[str, Tensor], slices: Sequence[_ChannelSlice], pruned: Tensor) -> dict[str, Tensor]:
    removed = dict(coupled)
    for each in slices:
        kept = torch.ones(coupled[each.tensor].shape[each.dim], dtype=torch.bool)
        kept[each.positions[pruned].flatten()] = False
        removed[each.tensor] = removed[each.tensor].index_select(each.dim, kept.nonzero().flatten())
    return removed


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return inputs with each tensor changed, in the same containers."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, change) for name, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
