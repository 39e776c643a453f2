"""The numbers of a flat tensor's entries in torch operations; those of scaled weights are code times scale."""

from typing import Final, TypeAlias

import torch

from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.torch_tensors import DeviceBuffer

SIGNED: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integer dtype of each width that torch knows all operations for."""

Values: TypeAlias = DeviceBuffer | ScaledWeights


class NumberReader:
    """Reads numbers of a flat tensor as fp32 or fp64; those of scaled weights as fp64."""

    def __init__(self, values: Values) -> None:
        codes: DeviceBuffer = values.codes if isinstance(values, ScaledWeights) else values
        self.flat = codes.tensor
        self._layout = values.layout if isinstance(values, ScaledWeights) else None
        self._scales = (
            torch.from_numpy(values.scales).to(self.flat.device) if isinstance(values, ScaledWeights) else None
        )

    def read(self, begin: int, end: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the numbers from `begin` to `end`."""
        numbers = self.flat[begin:end].to(dtype)
        if self._scales is None:
            return numbers
        return self._scaled(numbers, torch.arange(begin, end, device=self.flat.device))

    def at(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return the numbers at `positions`; not every dtype can be indexed, but integers of its width can."""
        bits = self.flat.view(SIGNED[self.flat.dtype.itemsize])[positions]
        return self._scaled(bits.view(self.flat.dtype).to(dtype), positions)

    def _scaled(self, numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        if self._scales is None or self._layout is None:
            return numbers
        return numbers * self._scales[self._layout.indices(positions)]
