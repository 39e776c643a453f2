"""torch tensors to the bytes of a safetensors buffer and back. Imported only for callers who use torch.

Tensors may have any dtype of the format, any device and any strides. A contiguous tensor on the CPU is sent from
its own memory; any other is copied, one at a time, while it is sent. Results are on the CPU and share one block of
memory. Masks are applied with torch's own operations, so that numpy is not needed.
"""

import ctypes
import zipfile
from collections.abc import Hashable
from typing import Final

import torch
from torch import Tensor, nn

from pruning_client.errors import CheckpointError, tensor_error, unchangeable_error
from pruning_client.frameworks.blocks import BLOCK_BYTES, blocks, has_no_overlap
from pruning_proto.names import MASK, ORIG
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import WITHOUT_ZERO
from pruning_proto.safetensors.header import TensorEntry

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
_PAIRS: Final[torch.dtype | None] = getattr(torch, "float4_e2m1fn_x2", None)
"""The dtype, since torch 2.8, whose elements are two numbers each; the format counts the numbers."""
if _PAIRS is not None:
    _NAMES[_PAIRS] = "F4"
_DTYPES: Final = {name: dtype for dtype, name in _NAMES.items()}
_ADDRESSABLE: Final = ("cpu", "cuda")
"""Devices on which a tensor with entries has an address."""

_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integers of each width, for entries as their bits."""


def describe(name: str, tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """Return the dtype, by the format's name, and the shape.

    Raises: CheckpointError if the tensor is sparse, quantized, on the meta device, not initialized, without memory of
    its own, or of a dtype the format lacks.
    """
    problem = _unreadable(tensor)
    if problem is not None:
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, problem)
    if tensor.dtype not in _NAMES:
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, f"safetensors has no {tensor.dtype}; convert it first")
    if tensor.dtype is _PAIRS:
        if tensor.dim() == 0:
            raise tensor_error(
                Reason.UNKNOWN_DTYPE, name, "safetensors has no pair of numbers without a dim; reshape it"
            )
        return _NAMES[tensor.dtype], (*tensor.shape[:-1], 2 * tensor.shape[-1])
    return _NAMES[tensor.dtype], tuple(tensor.shape)


def identity(tensor: Tensor) -> Hashable:
    """Return a value that is equal for tied tensors only: the same entries of the same memory, read the same way."""
    address = 0 if tensor.numel() == 0 else tensor.data_ptr()
    if address == 0:
        return None
    lazily = (tensor.is_conj(), tensor.is_neg())  # bits beside the memory that say how to read it
    return (tensor.device, address, tensor.dtype, tuple(tensor.shape), tensor.stride(), lazily)


def view(tensor: Tensor) -> memoryview:
    """Return the bytes in C order; a copy only if the tensor is on another device or not contiguous."""
    dense = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    size = dense.numel() * dense.element_size()
    if size == 0:
        return memoryview(b"")
    block = (ctypes.c_ubyte * size).from_address(dense.data_ptr())
    block.owner = dense  # type: ignore[attr-defined]  # the memory lives as long as any view of it
    return memoryview(block).cast("B")


def tensor(entry: TensorEntry, data: memoryview) -> Tensor:
    """Return a tensor over writable `data`.

    Raises: CheckpointError if torch has no such dtype.
    """
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise tensor_error(
            Reason.UNKNOWN_DTYPE,
            entry.name,
            f"torch cannot read {entry.dtype}; write the result to a file with `result.save(path)`",
        )
    shape = _shape(entry, dtype)
    if len(data) == 0:
        return torch.empty(shape, dtype=dtype)
    aligned = data if _is_aligned(data, dtype.itemsize) else bytearray(data)
    if dtype == _PAIRS:  # torch makes no tensor of it from memory
        return torch.frombuffer(aligned, dtype=torch.uint8).view(dtype).reshape(shape)
    return torch.frombuffer(aligned, dtype=dtype).reshape(shape)


def _shape(entry: TensorEntry, dtype: torch.dtype) -> tuple[int, ...]:
    """Return the shape as torch counts it."""
    if dtype is not _PAIRS:
        return entry.shape
    if not entry.shape or entry.shape[-1] % 2:
        raise tensor_error(
            Reason.UNKNOWN_DTYPE,
            entry.name,
            f"torch reads F4 in pairs along the last dim, and its shape is {list(entry.shape)}; write the result to a "
            "file with `result.save(path)`",
        )
    return (*entry.shape[:-1], entry.shape[-1] // 2)


def read_weights(path: str) -> object:
    """Return what `torch.save` wrote into a file, if it holds tensors and plain values only: no code is run.

    The tensors of a ZIP archive, which `torch.save` writes since torch 1.6, are read when they are used.
    Raises: OSError. CheckpointError if the file is damaged, or needs other classes.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path}: torch cannot read it with weights_only=True ({_first_sentence(error)}); it is damaged, or holds "
            "more than tensors, such as a whole model: save its state dict with safetensors.torch.save_model where its "
            "code is",
            reason=Reason.INVALID_HEADER,
        ) from error


def _first_sentence(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")


def check_changeable(name: str, tensor: Tensor) -> None:
    """Raise MismatchError unless each entry has memory of its own, and a zero; CheckpointError as `describe`."""
    owner = _other_owner(tensor)
    if owner is not None:
        raise unchangeable_error(
            name, f"{owner}; apply the masks before the model is wrapped, distributed or quantized"
        )
    dtype, _ = describe(name, tensor)
    problem = f"{tensor.dtype} has no zero" if dtype == WITHOUT_ZERO else _unchangeable(tensor)
    if tensor.dtype is _PAIRS:
        problem = f"each element of {tensor.dtype} is two numbers"
    if problem is not None:
        raise unchangeable_error(name, problem)


def apply_mask_(tensor: Tensor, bits: memoryview) -> None:
    """Set to +0.0 the entries whose bit is 0, in place; bits flat in C order and little order, in writable memory.

    Cost: a few MB of memory; near the speed of memory if the tensor is contiguous. Autograd sees a change in place.
    """
    if tensor.numel() == 0:
        return
    numbers = tensor.detach().view(_INTEGERS[tensor.dtype.itemsize])
    numbers = numbers.view(-1) if numbers.is_contiguous() else numbers
    packed = torch.frombuffer(bits, dtype=torch.uint8)
    spread = _spread(numbers)
    with torch.no_grad():
        for block in blocks(numbers.shape, BLOCK_BYTES // numbers.itemsize):
            marks = spread.index_select(0, packed[block.packed].to(numbers.device, torch.int32)).view(-1)
            part = numbers[block.index]
            part.bitwise_and_(marks[block.spare : block.spare + block.entries].view(part.shape))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by their dotted names, tied ones under each of their names."""
    return dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))


def computed_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the plain attributes `w` that torch computed from `w_orig` and `w_mask` for the last forward pass."""
    return {
        f"{path}.{name}" if path else name: value
        for path, owner in module.named_modules(remove_duplicate=False)
        for name, value in vars(owner).items()
        if isinstance(value, Tensor) and hasattr(owner, name + ORIG) and hasattr(owner, name + MASK)
    }


def _other_owner(tensor: Tensor) -> str | None:
    """Return who holds the entries, if not this tensor itself."""
    if hasattr(tensor, "__tensor_flatten__"):  # the protocol of subclasses that wrap other tensors
        return f"a {type(tensor).__name__} holds its entries in other tensors"
    if getattr(tensor, "_fsdp_flattened", False):
        return "FSDP has flattened it"
    return None


def _unreadable(tensor: Tensor) -> str | None:
    """Return why its entries cannot be read from memory."""
    if torch.nn.parameter.is_lazy(tensor):
        return "a lazy module's parameter has no data before its first input; run the module once"
    if hasattr(tensor, "__tensor_flatten__"):
        return (
            f"{_other_owner(tensor)}; give a dense one: of a DTensor `full_tensor()`, else `dequantize()` or `unbind()`"
        )
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        return (
            f"only dense tensors with data are taken, got layout {tensor.layout}{', nested' * tensor.is_nested}, "
            f"dtype {tensor.dtype}, device {tensor.device}"
        )
    if tensor.device.type in _ADDRESSABLE and tensor.numel() > 0 and tensor.data_ptr() == 0:
        return (
            f"its {tensor.numel():,} entries have no memory: it is a placeholder, or its storage was freed (a sharded "
            "model does so between its steps); gather the whole state dict first"
        )
    return None


def _unchangeable(tensor: Tensor) -> str | None:
    """Return why its entries cannot be changed in place, one by one."""
    if tensor.is_conj() or tensor.is_neg():
        return "it is a lazy conjugate or negative; call `resolve_conj()` or `resolve_neg()` first"
    if not has_no_overlap(tensor.shape, tensor.stride(), 1):
        return "several of its entries share memory (is it expanded?); `clone()` it first"
    return None


def _spread(numbers: Tensor) -> Tensor:
    """Return for each value of a byte of bits its 8 masks: all ones for a bit of 1."""
    values = torch.arange(256, dtype=numbers.dtype, device=numbers.device).view(-1, 1)
    return -(values >> torch.arange(8, dtype=numbers.dtype, device=numbers.device) & 1)


def _is_aligned(data: memoryview, item_bytes: int) -> bool:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(data)) % item_bytes == 0
