"""torch tensors of these tests as the engine's buffers, and back."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.kernels.backend import Backend, Flat
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.torch_tensors import to_buffer, to_tensor


def flat(backend: Backend, tensor: torch.Tensor) -> Flat:
    return backend.load(to_buffer(tensor))


def pack(backend: Backend, flags: torch.Tensor) -> PackedMask:
    return backend.pack(flat(backend, flags))


def unpack(backend: Backend, mask: PackedMask) -> torch.Tensor:
    return to_tensor(backend.unpack(mask))


def bits(mask: PackedMask) -> list[int]:
    return list(np.asarray(mask.bits).tolist())


def received(planned: PlannedParameter, tensors: Mapping[str, torch.Tensor]) -> ReceivedParameter:
    return ReceivedParameter(planned, {name: to_buffer(tensors[name]) for name in planned.sources})


def results(states: Iterable[ParameterState]) -> dict[str, torch.Tensor]:
    return {result.spec.name: to_tensor(result.buffer) for state in states for result in state.results}
