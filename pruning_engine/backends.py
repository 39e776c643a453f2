"""Which backend works for a device."""

import torch

from pruning_engine.backend import Backend
from pruning_engine.numpy_backend import NumpyBackend
from pruning_engine.torch_backend import TorchBackend


def backend_for(device: torch.device) -> Backend:
    """Give the fastest backend of a device."""
    return NumpyBackend() if device.type == "cpu" else TorchBackend(device)
