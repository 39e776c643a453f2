"""Modules for tests of the module face: small, with weights written out."""

import torch


def module_of(weight: torch.Tensor) -> torch.nn.Module:
    """A module with one parameter, `weight`."""
    module = torch.nn.Module()
    module.register_parameter("weight", torch.nn.Parameter(weight, requires_grad=weight.is_floating_point()))
    return module


def row(*values: float) -> torch.nn.Module:
    """A module whose weight is one row of fp32."""
    return module_of(torch.tensor(values, dtype=torch.float32))


def weight_of(module: torch.nn.Module) -> torch.Tensor:
    """The weight that the forward pass sees."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def backward(weight: torch.Tensor) -> None:
    """Send a gradient of ones back from a weight."""
    weight.sum().backward()  # type: ignore[no-untyped-call]  # torch's


def mask_of(module: torch.nn.Module) -> torch.Tensor:
    """The mask that is stored beside the weight."""
    return module.get_buffer("weight_mask")
