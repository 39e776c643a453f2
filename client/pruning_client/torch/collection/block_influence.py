"""How much each layer of a model changes what passes through it: block influence.

Source: Men et al. 2024, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
arXiv:2403.03853, equation 1: 1 - cos(x, y), the mean over tokens, of a layer's input x and output y. A small influence
says that the layer can go.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_client.torch.collection.padding import Padding
from pruning_client.torch.collection.targets import Targets
from pruning_client.torch.collection.unit_sums import UnitSums, unit_statistics
from pruning_proto.layer_stacks import layer_stacks, split_number

_HIDDEN: Final = "hidden_states"
_ROWS: Final = 4096
"""Rows that are converted to fp64 at once."""


@dataclass(slots=True)
class _Stack:
    """A stack of layers: its sums, and why it has none."""

    sums: UnitSums
    refusal: str = ""


@dataclass(slots=True)
class BlockInfluence:
    """The influence of each layer of a model's stacks. Use `batch` around each run, and `statistics` at the end."""

    model: nn.Module
    targets: Targets
    disk_names: DiskNames
    _stacks: dict[str, _Stack] = field(default_factory=dict)
    _padding: Padding = field(default_factory=lambda: Padding({}))

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Measure all layers while inside. Raises: MismatchError if there are none, or a pattern selects none."""
        with ExitStack() as stack:
            found = stacks_of(self.model, self.disk_names)
            for name, layers in found.items():
                if self.targets.includes(name):
                    self._stacks[name] = _Stack(UnitSums(len(layers)))
                    for number, layer in enumerate(layers):
                        self._hook(stack, self._stacks[name], number, layer)
            if not found:
                raise MismatchError(
                    "the model has no stack of numbered layers, such as model.layers.0, model.layers.1, ..., of which "
                    "the influence could be measured"
                )
            self.targets.check_used({})
            yield

    @contextmanager
    def batch(self, padding: Padding) -> Iterator[None]:
        """Measure a run of the model with one batch, while inside."""
        self._padding = padding
        yield

    def statistics(self) -> Statistics:
        """Return what was measured. Raises: MismatchError if no layer was called, or its values are not finite."""
        idle = {
            name: stack.refusal or "its layers were not called with any of the batches"
            for name, stack in self._stacks.items()
            if stack.refusal or not stack.sums.counts.any()
        }
        if idle.keys() == self._stacks.keys():
            raise MismatchError(f"no influence was measured: {_listed(idle) or 'give at least one batch'}")
        measured = {name: stack.sums for name, stack in self._stacks.items() if name not in idle}
        return unit_statistics("layers", measured, idle, self.disk_names.model_type)

    def _hook(self, hooks: ExitStack, stack: _Stack, number: int, layer: nn.Module) -> None:
        call = _Call()
        before = layer.register_forward_pre_hook(partial(self._before, call), with_kwargs=True)
        after = layer.register_forward_hook(partial(self._after, call, stack, number))
        hooks.callback(before.remove)
        hooks.callback(after.remove)

    @torch.no_grad()
    def _before(self, call: "_Call", _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        value = args[0] if args else kwargs.get(_HIDDEN)
        call.shape = value.shape if isinstance(value, Tensor) else None
        call.rows = self._padding.real_rows(value).clone() if isinstance(value, Tensor) else None

    @torch.no_grad()
    def _after(self, call: "_Call", stack: _Stack, number: int, layer: nn.Module, _: object, output: Any) -> None:
        value = output[0] if isinstance(output, Sequence) and output else output
        before, call.rows = call.rows, None
        if before is None or not isinstance(value, Tensor) or value.shape != call.shape:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            given = None if call.shape is None else list(call.shape)
            stack.refusal = f"a {type(layer).__name__} returns {shape} for {given}, which is not what passed through it"
            return
        after = self._padding.real_rows(value)
        for block in zip(torch.split(before, _ROWS), torch.split(after, _ROWS), strict=True):
            stack.sums.add(number, _influence(*block))


@dataclass(slots=True)
class _Call:
    """The input of the layer that runs."""

    shape: torch.Size | None = None
    rows: Tensor | None = None


def stacks_of(model: nn.Module, disk_names: DiskNames) -> dict[str, list[nn.Module]]:
    """Return the layers of each stack of a model, by the name that the stack has on disk."""
    names = {name: disk_names.of(name) or name for name in model.state_dict()}
    shapes = {names[name]: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    paths: dict[tuple[str, int], str] = {}
    for name, other in names.items():
        ours, theirs = split_number(name), split_number(other)
        if ours is not None and theirs is not None and ours[1] == theirs[1]:
            paths.setdefault(theirs[:2], f"{ours[0]}.{ours[1]}")
    found = {stack.prefix: range(stack.layers) for stack in layer_stacks(shapes)}
    return {
        prefix: [model.get_submodule(paths[prefix, number]) for number in numbers]
        for prefix, numbers in found.items()
        if all((prefix, number) in paths for number in numbers)
    }


def _influence(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 - cos of each pair of rows; of two zero vectors 0. Shape: (rows, channels), twice, to (rows,)."""
    x, y = before.double(), after.double()
    norms = x.square().sum(1).sqrt() * y.square().sum(1).sqrt()
    cosine = (x * y).sum(1) / norms.where(norms > 0, 1.0)
    return 1 - cosine.where(norms > 0, x.eq(y).all(1).double())


def _listed(skipped: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
