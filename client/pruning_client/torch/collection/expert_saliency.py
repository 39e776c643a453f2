"""How much each expert of a mixture adds to the output of its layer: REAP, and how often it is chosen.

Source: Lasby et al. 2025, "REAP the Experts: Why Pruning Prevails for One-Shot MoE Compression", arXiv:2510.13999: the
mean, over the tokens that are routed to an expert, of its gate times the L2 norm of its output. The gates are those
that the model multiplies by, scaled so that they add up to 1 for each token. The counts alone are how often an expert
is chosen.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_client.torch.collection.expert_lists import ExpertList, expert_list_of
from pruning_client.torch.collection.experts import ExpertRows, experts_of
from pruning_client.torch.collection.padding import Padding
from pruning_client.torch.collection.targets import Targets
from pruning_client.torch.collection.unit_sums import UnitSums, unit_statistics

_EXPERTS: Final = ".experts."
_NOT_CALLED: Final = "its experts were not called with any of the batches"


@dataclass(slots=True)
class ExpertSaliency:
    """The saliency of each expert of a model. Use `batch` around each run, and `statistics` at the end."""

    model: nn.Module
    targets: Targets
    disk_names: DiskNames
    _groups: dict[str, UnitSums] = field(default_factory=dict)
    _skipped: dict[str, str] = field(default_factory=dict)
    _padding: Padding = field(default_factory=lambda: Padding({}))

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Measure all experts while inside. Raises: MismatchError if there are none, or a pattern selects none."""
        with ExitStack() as stack:
            for path, module in self.model.named_modules():
                experts = experts_of(module) or expert_list_of(module)
                if experts is not None:
                    self._hook(stack, path, module, experts)
            if not self._groups and not self._skipped:
                raise MismatchError(
                    "the model has no experts that are known: neither transformers' fused experts, nor a list "
                    "`experts` beside a router `gate` or `router` that is a Linear"
                )
            self.targets.check_used(self._skipped)
            yield

    @contextmanager
    def batch(self, padding: Padding) -> Iterator[None]:
        """Measure a run of the model with one batch, while inside."""
        self._padding = padding
        yield

    def statistics(self) -> Statistics:
        """Return what was measured. Raises: MismatchError if no expert was called, or its values are not finite."""
        idle = {name: _NOT_CALLED for name, sums in self._groups.items() if not sums.counts.any()}
        measured = {name: sums for name, sums in self._groups.items() if name not in idle}
        skipped = self._skipped | idle
        if not measured:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise MismatchError(f"no experts were measured: {reasons or 'give at least one batch'}")
        return unit_statistics("experts", measured, skipped, self.disk_names.model_type)

    def _hook(self, hooks: ExitStack, path: str, module: nn.Module, experts: ExpertRows | ExpertList | str) -> None:
        name = self._group_name(path, experts)
        if not self.targets.includes(name):
            return
        if isinstance(experts, str):
            self._skipped[name] = experts
            return
        sums = self._groups[name] = UnitSums(experts.experts)
        hook = partial(self._count, sums, experts)
        hooks.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    @torch.no_grad()
    def _count(
        self,
        sums: UnitSums,
        experts: ExpertRows | ExpertList,
        _: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        contributions: Iterator[tuple[int, Tensor]] = experts.contributions(args, dict(kwargs), self._padding)
        for expert, values in contributions:
            sums.add(expert, values)

    def _group_name(self, path: str, experts: ExpertRows | ExpertList | str) -> str:
        """Return the name of the block that has a router and experts, on disk."""
        if isinstance(experts, ExpertRows):
            weight = f"{path}.{experts.first}"
            several = self.disk_names.experts(weight, experts.input_dim)
            return _block_of(several[0][0] if several else self.disk_names.of(weight) or weight)
        return path if isinstance(experts, ExpertList) else path.removesuffix(".experts")


def _block_of(name: str) -> str:
    """Return the block of an expert's weight: `model.layers.0.mlp` of `model.layers.0.mlp.experts.0.up_proj.weight`."""
    block, found, _ = name.rpartition(_EXPERTS)
    return block if found else ".".join(name.split(".")[:-2])
