"""Hooks on all layers of a model, or of a part of it, and the statistics that they add up to."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError
from pruning_client.frameworks import torch as adaptor
from pruning_client.statistics.statistics import Statistics
from pruning_client.statistics.tensor import StatisticsTensor, in_memory
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_client.torch.collection.experts import ExpertRows, experts_of
from pruning_client.torch.collection.layers import Rows, rows_of
from pruning_client.torch.collection.output_gradients import OutputGradients
from pruning_client.torch.collection.padding import Padding
from pruning_client.torch.collection.sharing import Input, SharedInputs
from pruning_client.torch.collection.sums import Sums, SumsOptions
from pruning_client.torch.collection.targets import Targets
from pruning_proto.names import INPUTS, OUT_GRAM

_NOT_CALLED: Final = "its module was not called with any of the batches"
_NO_SAMPLE: Final = "fused experts have no sample of equal length for each expert; collect kind 'gram'"


@dataclass(slots=True)
class Layer:
    """One weight whose input is counted; `experts` of a stack of them."""

    input: Input
    input_dim: int
    experts: int | None = None


@dataclass(slots=True)
class Collector:
    """The statistics of the layers of `part`, whose names in the model begin with `prefix`.

    Use `batch` around each run of the part, and `statistics` at the end.
    """

    part: nn.Module
    prefix: str
    options: SumsOptions
    targets: Targets
    disk_names: DiskNames
    outputs: OutputGradients | None = None
    """Of all layers but fused experts; None: not collected."""
    _layers: dict[str, Layer] = field(default_factory=dict)
    _skipped: dict[str, str] = field(default_factory=dict)
    _shared: SharedInputs = field(default_factory=SharedInputs)
    _padding: Padding = field(default_factory=lambda: Padding({}))

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Count the inputs of all layers while inside. Raises: MismatchError if a name or pattern selects none."""
        with ExitStack() as stack:
            for path, module in self.part.named_modules():
                self._hook(stack, f"{self.prefix}{path}" if path else self.prefix.removesuffix("."), module)
            self.targets.check_used(self._skipped)
            yield

    @contextmanager
    def batch(self, padding: Padding) -> Iterator[None]:
        """Count a run of the part with one batch, while inside."""
        self._padding = padding
        yield
        self._shared.end_batch([layer.input for layer in self._layers.values()])

    def _hook(self, stack: ExitStack, path: str, module: nn.Module) -> None:
        experts = experts_of(module)
        if isinstance(experts, ExpertRows):
            self._hook_experts(stack, path, module, experts)
            return
        rows = experts or rows_of(module)
        names = [name for name in ("gate_up_proj", "up_proj", "down_proj") if hasattr(module, name)]
        for name in names if experts else ["weight"]:
            weight = f"{path}.{name}" if path else name
            if rows is None or not self._is_target(weight):
                continue
            if isinstance(rows, str):
                self._skipped[weight] = rows
                continue
            layer = self._layers[weight] = Layer(Input(weight), rows.input_dim)
            hook = partial(self._count, layer.input, rows)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
            if self.outputs is not None and not experts:
                self.outputs.watch(stack, weight, module)

    def _hook_experts(self, stack: ExitStack, path: str, module: nn.Module, rows: ExpertRows) -> None:
        layers: list[Layer | None] = []
        for name in (rows.first, "down_proj"):
            weight = f"{path}.{name}"
            parts = self.disk_names.experts(weight, rows.input_dim) or ()
            is_target = self._is_target(weight, *chain.from_iterable(parts))
            if is_target and self.options.kind == "inputs":
                self._skipped[weight] = _NO_SAMPLE
            layer = Layer(Input(weight), rows.input_dim, rows.experts)
            layers.append(layer if is_target and weight not in self._skipped else None)
        self._layers |= {layer.input.weight: layer for layer in layers if layer is not None}
        if any(layers):
            hook = partial(self._count_experts, layers, rows)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    def _is_target(self, weight: str, *parts: str) -> bool:
        return self.targets.includes(weight, self.disk_names.of(weight), *parts)

    @torch.no_grad()
    def _count(self, one: Input, rows: Rows, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs: Tensor = args[0] if args else next(iter(kwargs.values()))
        if self._shared.is_counted(one, inputs, rows.geometry):
            return
        if one.sums is None:
            one.sums = Sums(self.options, rows.channels, inputs.device)
        for block in rows.blocks(inputs, self._padding):
            one.sums.add(block)

    @torch.no_grad()
    def _count_experts(
        self,
        layers: Sequence[Layer | None],
        rows: ExpertRows,
        _: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        for expert, *found in rows.each(args, kwargs, self._padding):
            for layer, inputs in zip(layers, found, strict=True):
                if layer is None:
                    continue
                if layer.input.sums is None:
                    layer.input.sums = Sums(self.options, inputs.shape[1], inputs.device, rows.experts)
                layer.input.sums.add(inputs, expert)
        for layer in layers:
            if layer is not None:
                layer.input.calls += 1

    def statistics(self) -> Statistics:
        """Return what was counted; once, because it is released.

        Raises: MismatchError if no layer was called, or an input is not finite.
        """
        called = {name: layer for name, layer in self._layers.items() if _sums(layer) is not None}
        idle = {name: _NOT_CALLED for name in self._layers if name not in called}
        self.targets.check_used(self._skipped | idle)
        if not called:
            raise MismatchError("no layer was called: there are no statistics; give at least one batch")
        found = _Found(self.options, self.disk_names)
        for name, layer in called.items():
            found.add(name, layer)
            gram = None if self.outputs is None else self.outputs.gram_of(name)
            if gram is not None:
                found.add_output_gram(name, gram)
        return found.statistics({**self._skipped, **idle})


def _sums(layer: Layer) -> Sums | None:
    return layer.input.sums if layer.input.leader is None else layer.input.leader.sums


class _Found:
    """The parts of `Statistics`, by the names that the weights have on disk."""

    def __init__(self, options: SumsOptions, disk_names: DiskNames) -> None:
        self._options = options
        self._disk_names = disk_names
        self._tensors: dict[str, StatisticsTensor] = {}
        self._aliases: dict[str, str] = {}
        self._input_dims: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._module_names: dict[str, str | tuple[str, ...]] = {}

    def add(self, weight: str, layer: Layer) -> None:
        """Add the statistics of one weight."""
        self._input_dims[weight] = layer.input_dim
        several = self._disk_names.experts(weight, layer.input_dim) if layer.experts is not None else None
        if several is not None:
            self._add_experts(weight, layer, several)
            return
        name = self._disk_names.of(weight) or weight
        if name != weight:
            self._module_names[weight] = name
            self._input_dims[name] = layer.input_dim
        sums = _sums(layer)
        leader = layer.input.leader
        owner = name if leader is None else self._disk_names.of(leader.weight) or leader.weight
        if sums is None:
            return
        self._tokens[name] = sums.tokens
        for suffix, tensor in _finite(weight, sums).items() if leader is None else ():
            self._tensors[name + suffix] = _described(tensor)
        for suffix in self._suffixes(owner) if leader is not None else ():
            self._aliases[name + suffix] = owner + suffix

    def add_output_gram(self, weight: str, gram: Tensor) -> None:
        """Add the Gram matrix of the gradients of one weight's outputs, which no other weight shares."""
        name = self._disk_names.of(weight) or weight
        self._tensors[name + OUT_GRAM] = _described(gram.to(self._options.gram_dtype))

    def _suffixes(self, owner: str) -> list[str]:
        own = [name.removeprefix(owner) for name in self._tensors if name.rpartition(":")[0] == owner]
        return [suffix for suffix in own if suffix != OUT_GRAM]

    def _add_experts(self, weight: str, layer: Layer, several: Sequence[tuple[str, ...]]) -> None:
        """Add the statistics of stacked experts: each of the file by its name there.

        `several` has, for each expert, the names on disk of the tensors that see its input.
        """
        sums = layer.input.sums
        if sums is None:
            return
        self._module_names[weight] = tuple(names[0] for names in several)
        for suffix, tensor in _finite(weight, sums).items():
            for names, own in zip(several, tensor, strict=True):
                self._tensors[names[0] + suffix] = _described(own)
                self._aliases |= {other + suffix: names[0] + suffix for other in names[1:]}
        for names, count in zip(several, sums.counts, strict=True):
            self._input_dims |= dict.fromkeys(names, 1)
            self._tokens |= dict.fromkeys(names, count)

    def statistics(self, skipped: dict[str, str]) -> Statistics:
        """Return all that was added."""
        return Statistics(
            kind=self._options.kind,
            tensors=self._tensors,
            aliases=self._aliases,
            input_dims=self._input_dims,
            tokens=self._tokens,
            module_names=self._module_names,
            skipped=skipped,
            model_type=self._disk_names.model_type,
        )


def _finite(weight: str, sums: Sums) -> dict[str, Tensor]:
    if not sums.is_finite:
        raise MismatchError(
            f"the input of {weight!r} has NaN or infinite values, with which no statistics can be computed; look at "
            "the batches, or run the model in a wider dtype",
            metadata={"tensor": weight},
        )
    return sums.take()


def _described(tensor: Tensor) -> StatisticsTensor:
    dtype, shape = adaptor.describe(INPUTS, tensor)
    return in_memory(dtype, shape, adaptor.view(tensor))
