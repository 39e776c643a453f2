"""FP8 weights with their scales: what a backend is given in place of a flat buffer where values are ranked."""

from dataclasses import dataclass

from pruning_engine.kernels.backend import Flat, Floats
from pruning_engine.scale_layout import ScaleLayout


@dataclass(frozen=True, slots=True, eq=False)
class ScaledWeights:
    """Flat codes, each worth itself times the scale of its block.

    Products are formed in fp64, where they are exact: a code has at most 4 significant bits and a scale 24.
    Shape: `scales` are flat, finite numbers from 0 in host memory.
    """

    codes: Flat
    scales: Floats
    layout: ScaleLayout

    @property
    def dtype(self) -> str:
        """The dtype of the codes."""
        dtype: str = self.codes.dtype
        return dtype

    @property
    def entries(self) -> int:
        """The number of entries."""
        entries: int = self.codes.entries
        return entries

    def host(self) -> "ScaledWeights":
        """Return the same with its codes in host memory."""
        return ScaledWeights(self.codes.host(), self.scales, self.layout)
