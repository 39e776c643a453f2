"""torch tensors as buffers without a copy, and back; and the torch dtype of each safetensors name.

Tensors in host memory become a `Buffer`, those of another device a `DeviceBuffer`. Only the parts of a tensor that
a buffer cannot say are lost: its gradient, and a negative bit, for which its entries are copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import torch

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.dtypes import tensor_bytes

TORCH_DTYPES: Final[Mapping[str, torch.dtype]] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "I8": torch.int8,
        "F8_E5M2": torch.float8_e5m2,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E8M0": torch.float8_e8m0fnu,
        "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
        "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
        "I16": torch.int16,
        "U16": torch.uint16,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I32": torch.int32,
        "U32": torch.uint32,
        "F32": torch.float32,
        "C64": torch.complex64,
        "F64": torch.float64,
        "I64": torch.int64,
        "U64": torch.uint64,
    }
)
"""torch's dtype for each safetensors name that torch has one for. Of F4, torch counts two as one element."""

_NAMES: Final[Mapping[torch.dtype, str]] = MappingProxyType({dtype: name for name, dtype in TORCH_DTYPES.items()})
_CARRIERS: Final[Mapping[str, torch.dtype]] = MappingProxyType(
    {
        name: getattr(torch, carrier.name)
        for name, carrier in CARRIERS.items()
        if getattr(torch, carrier.name) is not TORCH_DTYPES[name]
    }
)
"""The integer dtype of the same width, for dtypes that numpy lacks, and for bool."""


def name_of(dtype: torch.dtype) -> str:
    """Return the safetensors name of a torch dtype, or torch's own if safetensors has none."""
    return _NAMES.get(dtype) or str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True, eq=False)
class DeviceBuffer:
    """A tensor in the memory of a device, for the backend that works there: a torch tensor that has no gradient."""

    tensor: torch.Tensor

    @property
    def dtype(self) -> str:
        """The safetensors name of its dtype."""
        return name_of(self.tensor.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.tensor.shape)

    @property
    def entries(self) -> int:
        """The number of entries."""
        return self.tensor.numel()

    @property
    def nbytes(self) -> int:
        """The bytes that its entries take."""
        return tensor_bytes(self.dtype, self.entries)

    @property
    def address(self) -> int:
        """Where its first entry is in memory."""
        return self.tensor.data_ptr()

    def host(self) -> Buffer:
        """Return a copy in host memory; without a copy if the tensor is there."""
        return host_buffer(self.tensor.cpu())

    def reshaped(self, shape: tuple[int, ...]) -> "DeviceBuffer":
        """Return its entries in another shape, over the same memory."""
        return DeviceBuffer(self.tensor.view(shape))

    def copy(self) -> "DeviceBuffer":
        """Return a copy; its dims have the same order in memory."""
        return DeviceBuffer(self.tensor.clone())

    def empty_like(self) -> "DeviceBuffer":
        """Return a buffer to be filled; its dims have the same order in memory."""
        return DeviceBuffer(torch.empty_like(self.tensor))

    def fill(self, source: "AnyBuffer") -> None:
        """Write another buffer's entries, of the same dtype and number, in C order."""
        self.tensor.copy_(to_tensor(source).view(self.tensor.shape))


AnyBuffer: TypeAlias = Buffer | DeviceBuffer


def to_buffer(tensor: torch.Tensor) -> AnyBuffer:
    """Return a tensor as a buffer over the same memory, strides included.

    Raises: KeyError for a dtype that safetensors has no name for.
    """
    plain = tensor.detach().resolve_neg().resolve_conj()
    return host_buffer(plain) if plain.device.type == "cpu" else DeviceBuffer(plain)


def host_buffer(tensor: torch.Tensor) -> Buffer:
    """Return a tensor in host memory, without a gradient, as a buffer over the same memory."""
    name = name_of(tensor.dtype)
    carrier = _CARRIERS.get(name)
    return Buffer(name, tuple(tensor.shape), (tensor if carrier is None else tensor.view(carrier)).numpy())


def to_tensor(buffer: AnyBuffer) -> torch.Tensor:
    """Return a buffer as a tensor over the same memory.

    Raises: KeyError for a dtype that torch has none for.
    """
    if isinstance(buffer, DeviceBuffer):
        return buffer.tensor
    tensor = torch.from_numpy(np.asarray(buffer.array))
    return tensor.view(TORCH_DTYPES[buffer.dtype]) if buffer.dtype in _CARRIERS else tensor
