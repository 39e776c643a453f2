"""torch tensors <-> the bytes of a safetensors buffer. Imported only for those who use torch.

Tensors may have any dtype the format knows, any device and any strides. One on the CPU and contiguous is sent from
where it stands; any other is copied by itself while it is sent. Results are on the CPU and share one block of memory.
"""

import ctypes
from collections.abc import Hashable
from typing import Final

import torch
from torch import Tensor

from pruning_client.errors import tensor_error
from pruning_proto.layout import TensorEntry
from pruning_proto.reasons import Reason

FORMAT: Final = "pt"

_NAMES: Final = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.complex64: "C64",
}
if hasattr(torch, "float8_e8m0fnu"):  # torch 2.7
    _NAMES[torch.float8_e8m0fnu] = "F8_E8M0"
_DTYPES: Final = {name: dtype for dtype, name in _NAMES.items()}


def describe(name: str, tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """Give dtype, by the format's name, and shape.

    Raises: CheckpointError if the tensor is sparse, quantized, on the meta device, not initialized, or of a dtype the
    format lacks.
    """
    if torch.nn.parameter.is_lazy(tensor):
        wrong = "a lazy module's parameter has no data before its first input; run the module once"
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, wrong)
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise tensor_error(
            Reason.UNKNOWN_DTYPE,
            name,
            f"only dense tensors with data can be sent, got layout {tensor.layout}, dtype {tensor.dtype}, "
            f"device {tensor.device}",
        )
    if tensor.dtype not in _NAMES:
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, f"safetensors has no {tensor.dtype}; convert it first")
    return _NAMES[tensor.dtype], tuple(tensor.shape)


def identity(tensor: Tensor) -> Hashable:
    """Give what is equal for tied tensors only: the same entries of the same memory, read the same way."""
    if tensor.numel() == 0:
        return None
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def view(tensor: Tensor) -> memoryview:
    """Give the bytes in C order; a copy only if the tensor is on another device or not contiguous."""
    dense = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    size = dense.numel() * dense.element_size()
    if size == 0:
        return memoryview(b"")
    block = (ctypes.c_ubyte * size).from_address(dense.data_ptr())
    block.owner = dense  # type: ignore[attr-defined]  # the memory lives as long as any view of it
    return memoryview(block).cast("B")


def tensor(entry: TensorEntry, data: memoryview) -> Tensor:
    """Give a tensor over writable `data`.

    Raises: CheckpointError if torch has no such dtype.
    """
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise tensor_error(
            Reason.UNKNOWN_DTYPE,
            entry.name,
            f"torch cannot read {entry.dtype}; write the result to a file with `result.save(path)`",
        )
    if len(data) == 0:
        return torch.empty(entry.shape, dtype=dtype)
    if _is_aligned(data, dtype.itemsize):
        return torch.frombuffer(data, dtype=dtype).reshape(entry.shape)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(entry.shape)


def _is_aligned(data: memoryview, item_bytes: int) -> bool:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(data)) % item_bytes == 0
