"""Tensors in host memory without a tensor library: memory, a dtype by name, a shape.

numpy has no bfloat16 and no 8-bit floats, so a numpy array only carries the elements: see `CARRIERS`. What the
elements mean is said by the dtype's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pruning_engine.dtypes import tensor_bytes

CARRIERS: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        name: np.dtype(carrier)
        for name, carrier in {
            "BOOL": "u1",  # not numpy's bool, since a file may hold other bytes than 0 and 1
            "U8": "u1",
            "I8": "i1",
            "F8_E5M2": "u1",
            "F8_E4M3": "u1",
            "F8_E8M0": "u1",
            "F8_E4M3FNUZ": "u1",
            "F8_E5M2FNUZ": "u1",
            "I16": "i2",
            "U16": "u2",
            "F16": "f2",
            "BF16": "u2",
            "I32": "i4",
            "U32": "u4",
            "F32": "f4",
            "C64": "c8",
            "F64": "f8",
            "I64": "i8",
            "U64": "u8",
        }.items()
    }
)
"""The numpy dtype that carries the elements of each dtype. Dtypes of less than a byte are carried as flat bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A tensor in host memory: its dtype's safetensors name, its shape, and an array that carries its elements.

    Shape: the array has `shape`; for dtypes of less than a byte it is flat bytes. It may be a strided view.
    """

    dtype: str
    shape: tuple[int, ...]
    array: npt.NDArray[Any]

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview | npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...]
    ) -> "Buffer":
        """Return a buffer over bytes in C order, without a copy; writable if they are.

        Raises: ValueError if there are more or fewer bytes than dtype and shape take.
        """
        flat = data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        nbytes = tensor_bytes(dtype, prod(shape))
        if len(flat) != nbytes:
            raise ValueError(f"a tensor {dtype} of shape {list(shape)} takes {nbytes:,} bytes, got {len(flat):,}")
        carrier = CARRIERS.get(dtype)
        return cls(dtype, shape, flat if carrier is None else flat.view(carrier).reshape(shape))

    @property
    def entries(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that its entries take in C order, without gaps."""
        return tensor_bytes(self.dtype, self.entries)

    @property
    def data(self) -> memoryview:
        """Its bytes in C order; a view, unless the array lies otherwise."""
        return np.ascontiguousarray(self.array).reshape(-1).view(np.uint8).data

    @property
    def _order(self) -> Literal["C", "K"]:
        """The order of a copy's dims in memory: the same, as torch keeps it; expanded dims have none to be kept."""
        return "C" if 0 in self.array.strides else "K"

    @property
    def address(self) -> int:
        """Where its first entry is in memory."""
        return int(self.array.ctypes.data)

    def host(self) -> "Buffer":
        """Return the tensor in host memory: itself."""
        return self

    def reshaped(self, shape: tuple[int, ...]) -> "Buffer":
        """Return its entries in C order in another shape; a view, if they have that order."""
        return Buffer(self.dtype, shape, self.array.reshape(shape))

    def copy(self) -> "Buffer":
        """Return a copy; its dims have the same order in memory."""
        return Buffer(self.dtype, self.shape, self.array.copy(self._order))

    def empty_like(self) -> "Buffer":
        """Return a buffer to be filled; its dims have the same order in memory."""
        return Buffer(self.dtype, self.shape, np.empty_like(self.array, order=self._order))

    def fill(self, source: "Buffer") -> None:
        """Write another buffer's entries, of the same dtype and number, in C order.

        Raises: RuntimeError, as torch does, for an expanded tensor: its entries share memory, and one would overwrite
            another.
        """
        if any(stride == 0 and size > 1 for stride, size in zip(self.array.strides, self.shape, strict=True)):
            raise RuntimeError(
                f"a tensor of shape {list(self.shape)} that is expanded, so that entries share memory, cannot be "
                f"written in place; copy it first"
            )
        np.copyto(self.array, source.array.reshape(self.array.shape))
