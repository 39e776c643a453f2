"""A tensor of a checkpoint by its name, dtype and shape, without its data."""

from dataclasses import dataclass
from math import prod
from typing import Protocol

from pruning_engine.dtypes import tensor_bytes


class TensorDescription(Protocol):
    """Name, dtype and shape of a tensor: a `TensorSpec`, or an entry of a file's header."""

    @property
    def name(self) -> str:
        """Its name in the checkpoint."""
        ...

    @property
    def dtype(self) -> str:
        """The safetensors name of its dtype."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor by its name, the safetensors name of its dtype ("F32"), and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def entries(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that its entries take."""
        return described_bytes(self)


def described_bytes(tensor: TensorDescription) -> int:
    """Return the bytes that a tensor's entries take."""
    return tensor_bytes(tensor.dtype, prod(tensor.shape))
