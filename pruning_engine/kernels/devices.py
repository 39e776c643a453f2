"""Which backend computes for a device."""

from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.compiled.backend import CompiledBackend
from pruning_engine.kernels.compiled.library import NUMPY, get_kernels
from pruning_engine.kernels.cpu.backend import NumpyBackend


def backend_for(device: str) -> Backend:
    """Return the fastest backend of a device, by the name that torch has for it. Imports torch for all but the CPU."""
    if device.partition(":")[0] == "cpu":
        kernels = get_kernels()
        return NumpyBackend() if kernels == NUMPY else CompiledBackend(kernels)
    from pruning_engine.kernels.cuda.backend import TorchBackend  # noqa: PLC0415 - imports torch

    return TorchBackend(device)
