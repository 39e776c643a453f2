"""Layers whose inputs can be counted, and what a row of their input is.

A row is what one output position sees: a token of a Linear, and a patch of a convolution, flattened as the dims of its
weight after the first.
"""

import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from pruning_client.torch.collection.padding import Padding

_Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Rows(Protocol):
    """The rows of a layer's input."""

    @property
    def channels(self) -> int:
        """The number of input channels, times kernel positions."""

    @property
    def input_dim(self) -> int:
        """The dim of the weight that has the input channels."""

    @property
    def geometry(self) -> Hashable:
        """What must be equal, beside the input, for layers to have the same rows."""

    def blocks(self, inputs: Tensor, padding: Padding) -> Iterator[Tensor]:
        """Return the rows in blocks. Shape: to (rows, channels)."""


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The rows of a Linear, or of transformers' Conv1D, whose weight is stored as (in, out)."""

    channels: int
    input_dim: int

    @property
    def geometry(self) -> Hashable:
        """Nothing but the number of channels."""
        return self.channels

    def blocks(self, inputs: Tensor, padding: Padding) -> Iterator[Tensor]:
        """Return the rows without padding."""
        yield padding.real_rows(inputs)


class PatchRows:
    """The rows of a convolution."""

    input_dim = 1

    def __init__(self, layer: _Convolution) -> None:
        self._kernel = layer.kernel_size
        self._stride = layer.stride
        self._dilation = layer.dilation
        self._mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        self._pads = tuple(layer._reversed_padding_repeated_twice)
        self.channels = layer.weight[0].numel()

    @property
    def geometry(self) -> Hashable:
        """The kernel, and where it is applied."""
        return (self._kernel, self._stride, self._dilation, self._mode, self._pads)

    def blocks(self, inputs: Tensor, padding: Padding) -> Iterator[Tensor]:  # noqa: ARG002 - no pixel is padding
        """Return the patches of one image after the other."""
        dims = len(self._kernel)
        batch = inputs.unsqueeze(0) if inputs.dim() == dims + 1 else inputs
        for image in torch.split(batch, 1):
            yield self._patches(image)

    def _patches(self, image: Tensor) -> Tensor:
        windows = F.pad(image, self._pads, mode=self._mode) if any(self._pads) else image
        for dim, (size, step, dilation) in enumerate(
            zip(self._kernel, self._stride, self._dilation, strict=True), start=2
        ):
            windows = windows.unfold(dim, (size - 1) * dilation + 1, step)[..., ::dilation]
        dims = len(self._kernel)
        positions, offsets = range(2, 2 + dims), range(2 + dims, 2 + 2 * dims)
        return windows.permute(0, *positions, 1, *offsets).reshape(-1, self.channels)


def rows_of(module: nn.Module) -> Rows | str | None:
    """Return the rows of a module's input; why they are not counted; None if it has no weight of 2 dims or more."""
    if isinstance(module, nn.Linear):
        return TokenRows(module.in_features, input_dim=1)
    if _is_conv1d(module):
        return TokenRows(cast("Tensor", module.weight).shape[0], input_dim=0)
    if isinstance(module, _CONVOLUTIONS):
        if module.groups > 1:
            return f"a {type(module).__name__} of {module.groups} groups has other inputs for each group of outputs"
        return PatchRows(module)
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.dim() > 1:
        return f"inputs of a {type(module).__name__} are not counted, only those of Linear, Conv1d to Conv3d and Conv1D"
    return None


def _is_conv1d(module: nn.Module) -> bool:
    """Whether this is transformers' Conv1D, as in GPT-2."""
    of_transformers = sys.modules.get("transformers.pytorch_utils")
    return of_transformers is not None and isinstance(module, of_transformers.Conv1D)
