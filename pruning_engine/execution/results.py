"""The tensors that a parameter leaves as, by output format. They are on the device that the weights came from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.kernels.backend import AnyBuffer, Backend, BoolArray, Flat
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.remaining import kept_entries, kept_scales, remaining
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import OutputForm
from pruning_engine.scale_layout import scale_layout
from pruning_proto import formats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FinalState:
    """A parameter after its last rule; see ParameterState.

    `original`: its weights as they came, `scale`: their scale, if any. `is_changed`: a rule replaced them by `weight`.
    """

    planned: PlannedParameter
    backend: Backend
    original: AnyBuffer
    scale: AnyBuffer | None
    weight: Flat
    mask: PackedMask
    kept: Mapping[int, BoolArray]
    is_changed: bool
    in_place: bool

    @property
    def is_elsewhere(self) -> bool:
        """Whether `weight` is in other memory: it was copied to flatten or move it, or a rule replaced it."""
        return bool(self.weight.address != self.original.address)


def results_of(state: FinalState, output: OutputForm) -> list[ResultTensor]:
    """Return the tensors of a parameter in an output format."""
    buffers = [*RESULTS[output](state), *_scale(state, output)]
    return [
        ResultTensor(spec if buffer.shape == spec.shape else TensorSpec(spec.name, spec.dtype, buffer.shape), buffer)
        for spec, buffer in zip(state.planned.results, buffers, strict=True)
    ]


def _pruned(state: FinalState) -> AnyBuffer:
    return _weight(state, state.mask)


def _weight(state: FinalState, mask: PackedMask) -> AnyBuffer:
    """Return the weights with +0.0 wherever a mask prunes them."""
    if mask.is_full and not state.is_changed:
        return state.original if state.in_place else state.original.copy()
    planned, backend, is_elsewhere = state.planned, state.backend, state.is_elsewhere
    out = state.weight if is_elsewhere or state.in_place else backend.empty(planned.dtype, planned.entries)
    backend.apply(state.weight, mask, out)
    if not is_elsewhere:
        return state.original if state.in_place else _as_it_came(state, out.reshaped(planned.shape))
    result = state.original if state.in_place else state.original.empty_like()
    backend.copy(out, result)
    return result


def _removed(state: FinalState) -> AnyBuffer:
    """Return what remains when the coupled channels that were pruned are removed; other pruned entries are zero."""
    if all(flags.all() for flags in state.kept.values()):
        return _pruned(state)
    left = kept_entries(state.planned.shape, state.kept)
    is_all = state.mask.is_full or state.backend.count(state.mask) == left
    weight = state.original if is_all and not state.is_changed else _pruned(state)
    return remaining(state.backend, weight, state.kept, in_place=state.in_place)


def _scale(state: FinalState, output: OutputForm) -> list[AnyBuffer]:
    """Return the scale in formats that carry weights: as it came, or without those of blocks that were removed."""
    if state.scale is None or not formats.BY_NAME[output].carries_weights:
        return []
    if output is not OutputForm.REMOVED:
        return [state.scale]
    layout = scale_layout(state.planned.shape, state.scale.shape)
    return [remaining(state.backend, state.scale, kept_scales(layout, state.kept), in_place=False)]


def _masked(state: FinalState) -> list[AnyBuffer]:
    full = PackedMask.full(state.planned.entries)
    weight = _weight(state, full) if state.is_changed else state.original
    if not state.planned.rules and state.planned.pair_mask is None:
        return [weight]  # a bias that a rule's update has changed, and no rule has pruned
    flags = state.backend.unpack(state.mask).reshaped(state.planned.shape)
    return [weight, _as_it_came(state, flags)]


def _as_it_came(state: FinalState, buffer: AnyBuffer) -> AnyBuffer:
    """Return a result of the backend's device in host memory, if the weights came in host memory."""
    return buffer.host() if isinstance(state.original, Buffer) else buffer


_Buffers: TypeAlias = Callable[[FinalState], list[AnyBuffer]]

RESULTS: Final[Mapping[OutputForm, _Buffers]] = MappingProxyType(
    {
        OutputForm.PRUNED: lambda state: [_pruned(state)],
        OutputForm.REMOVED: lambda state: [_removed(state)],
        OutputForm.MASKED: _masked,
        OutputForm.MASK: lambda state: [_as_it_came(state, state.backend.bits(state.mask))],
        OutputForm.REPORT: lambda _: [],
        OutputForm.SCAN: lambda _: [],
    }
)
"""What a parameter leaves as in each output format, in the order of its planned results."""
