"""Which backend works for a device."""

import torch

from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend


def backend_for(device: torch.device) -> Backend:
    """Give the fastest backend of a device."""
    return NumpyBackend() if device.type == "cpu" else TorchBackend(device)
