"""The child process of `derive_groups`: which channels are tied, by torch-pruning, and whether that is true.

Reads a pickled module and its inputs from its parent, and writes one JSON object. Nobody else's pickle is ever read.
What torch-pruning tells is tried: half of a group's units are zeroed, then removed; both must give the same outputs.
"""

import json
import math
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.torch.resizing import LAYER_NORMS, load

_GRACE_SECONDS: Final = 10
"""What the parent has to end this process itself, before it ends of its own: the parent may be gone."""

_CONVS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_STATISTICS: Final = ("running_mean", "running_var")
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _Tie:
    """The positions of each unit in one dim of a tensor: `positions` is (units, inner)."""

    tensor: str
    dim: int
    positions: Tensor

    def told(self) -> dict[str, Any]:
        """Give it as `ties.tie` takes it."""
        return {"tensor": self.tensor, "dim": self.dim, **_compact(self.positions)}


class _UntiableError(Exception):
    """A group that cannot be told as ties, and why."""


def main(timeout_seconds: float) -> int:
    """Answer one question; give the exit status."""
    signal.alarm(math.ceil(min(timeout_seconds, 10**8)) + _GRACE_SECONDS)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the module's own code prints is no part of the answer
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small inputs gain nothing from more
    try:
        model, inputs = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent's own
        told = _derived(_Trial(model, inputs))
    except Exception as error:  # noqa: BLE001 - told to the parent
        told = {"error": f"the module failed in the child process ({type(error).__name__}: {error})"}
    with answer:
        json.dump(told, answer)
    return 0


class _Trial:
    """A module, its inputs, and what it gives for them; in double precision where the module can."""

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
        return next((each.dtype for each in self.model.parameters()), torch.float64) == torch.float64

    def _in_double(self) -> None:
        single = self._inputs
        self.model.double()
        self._inputs = _mapped(single, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
        try:
            self.outputs()
        except Exception:  # noqa: BLE001 - a module that makes tensors of its own dtype
            self.model.float()
            self._inputs = single

    def run(self) -> list[Tensor]:
        """Give all tensors in what the module gives that hang on its parameters."""
        if isinstance(self._inputs, Mapping):
            given = self.model(**self._inputs)
        else:
            given = self.model(*self._inputs) if isinstance(self._inputs, list | tuple) else self.model(self._inputs)
        return [each for each in _leaves(given) if each.grad_fn is not None]

    def outputs(self) -> list[Tensor]:
        """Give the same, without what is kept to go back through it."""
        return [each.detach() for each in self.run()]

    def why_not(self, ties: Sequence[_Tie], units: int) -> str | None:
        """Say why removal is not the same as zeros; None if it is."""
        if units < 2:
            return "it has one unit only"
        gone = torch.arange(units) % 2 == 1
        state = self.model.state_dict(keep_vars=True)
        tied = {tie.tensor: state[tie.tensor].detach().clone() for tie in ties}
        groups = {path: each.groups for path, each in self.model.named_modules() if isinstance(each, _CONVS)}
        try:
            load(self.model, _zeroed(tied, ties, gone), {}, strict=False)
            expected = self.outputs()
            load(self.model, _removed(tied, ties, gone), {}, strict=False)
            found = self.outputs()
        except Exception as error:  # noqa: BLE001 - the module's own code, at a size that it was not made for
            return f"without some of its units the module fails ({str(error).splitlines()[0][:120]})"
        finally:
            load(self.model, tied, groups, strict=False)
        return self._difference(expected, found)

    def _difference(self, expected: list[Tensor], found: list[Tensor]) -> str | None:
        if [each.shape for each in expected] != [each.shape for each in found]:
            return "its units are outputs of the module"
        same = all(torch.allclose(a, b, self._tolerance, self._tolerance) for a, b in zip(expected, found, strict=True))
        return None if same else "to remove its units is not the same as to zero them (heads, or a norm over them)"


def _derived(trial: _Trial) -> dict[str, Any]:
    import torch_pruning  # type: ignore[import-untyped]  # noqa: PLC0415 - only in this process

    graph = torch_pruning.DependencyGraph()
    graph.build_dependency(trial.model, None, forward_fn=lambda *_: trial.run(), verbose=False)
    names = {module: name for name, module in trial.model.named_modules()}
    kept: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for group in graph.get_all_groups(root_module_types=[*_CONVS, nn.Linear]):
        root, units = names[group[0].dep.target.module], len(group[0].idxs)
        try:
            ties = _ties(group, graph, names, units)
        except _UntiableError as error:
            left_out[root] = str(error)
            continue
        wrong = trial.why_not(ties, units)
        if wrong is None:
            kept.append({"units": units, "ties": [tie.told() for tie in ties]})
        else:
            left_out[root] = wrong
    return {"groups": kept, "left_out": left_out}


def _ties(group: Any, graph: Any, names: Mapping[nn.Module, str], units: int) -> list[_Tie]:
    """Give where the units of a group lie, in each of its tensors. Raises: _UntiableError."""
    ties = {}
    for item in group:
        node, handler = item.dep.target, item.dep.handler.__name__
        for name, dim in _places(node, handler, graph, names):
            ties[name, dim] = _Tie(name, dim, _positions(item.idxs, item.root_idxs, units, name))
    return list(ties.values())


def _places(node: Any, handler: str, graph: Any, names: Mapping[nn.Module, str]) -> Iterator[tuple[str, int]]:
    """Give the tensors of one step of the computation, each with the dim that the units lie along."""
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
    """Give the dim of one tensor that holds a module's channels; None if it has none. Raises: _UntiableError."""
    if isinstance(module, (nn.Linear, *_CONVS)):
        if isinstance(module, _CONVS) and module.groups not in (1, module.out_channels):
            raise _UntiableError("it goes through a convolution of several groups")
        if is_input:
            return 1 if name == "weight" else None
        return 0
    if isinstance(module, (nn.modules.batchnorm._BatchNorm, *LAYER_NORMS)):
        return 0
    if isinstance(module, nn.Embedding):
        return 1
    raise _UntiableError(f"it goes through a {type(module).__name__}")


def _positions(indices: Sequence[int], roots: Sequence[int], units: int, name: str) -> Tensor:
    """Give the positions of each unit, ascending: (units, inner). Raises: _UntiableError if they are not as many."""
    of_unit: list[list[int]] = [[] for _ in range(units)]
    for index, root in zip(indices, roots, strict=True):
        of_unit[root].append(index)
    inner = {len(each) for each in of_unit}
    if len(inner) != 1 or 0 in inner or len(set(indices)) != len(indices):
        raise _UntiableError(f"its units do not own the same number of positions in {name!r}")
    return torch.tensor([sorted(each) for each in of_unit])


def _compact(positions: Tensor) -> dict[str, Any]:
    """Give positions as offset, outer and inner where these can say it, else as indices."""
    units, each = positions.shape
    offset = int(positions[0, 0])
    for inner in (inner for inner in range(1, each + 1) if each % inner == 0):
        outer = each // inner
        regular = torch.arange(outer * units * inner).view(outer, units, inner).transpose(0, 1).reshape(units, each)
        if torch.equal(positions, offset + regular):
            said = {"offset": offset, "outer": outer, "inner": inner}
            return {name: value for name, value in said.items() if value != (0 if name == "offset" else 1)}
    return {"indices": positions.flatten().tolist(), "inner": each}


def _zeroed(tied: Mapping[str, Tensor], ties: Sequence[_Tie], gone: Tensor) -> dict[str, Tensor]:
    zeroed = {name: tensor.clone() for name, tensor in tied.items()}
    for tie in ties:
        if not tie.tensor.endswith(_STATISTICS):
            zeroed[tie.tensor].index_fill_(tie.dim, tie.positions[gone].flatten(), 0.0)
    return zeroed


def _removed(tied: Mapping[str, Tensor], ties: Sequence[_Tie], gone: Tensor) -> dict[str, Tensor]:
    removed = dict(tied)
    for tie in ties:
        stays = torch.ones(tied[tie.tensor].shape[tie.dim], dtype=torch.bool)
        stays[tie.positions[gone].flatten()] = False
        removed[tie.tensor] = removed[tie.tensor].index_select(tie.dim, stays.nonzero().flatten())
    return removed


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Give inputs with each tensor changed, in the containers that they came in."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(each, change) for name, each in value.items()}
    return [_mapped(each, change) for each in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
