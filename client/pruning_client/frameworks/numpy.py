"""numpy arrays to the bytes of a safetensors buffer and back. Imported only for callers who use numpy.

numpy itself has no bfloat16 and no 8-bit floats. Arrays of the package `ml_dtypes` are accepted, and results of these
dtypes need that package; if it is missing, the error says so. Results share one block of memory.
"""

import importlib
import sys
from collections.abc import Hashable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pruning_client.errors import tensor_error, unchangeable_error
from pruning_client.frameworks.blocks import BLOCK_BYTES, blocks, has_no_overlap
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.dtypes import WITHOUT_ZERO
from pruning_proto.safetensors.header import TensorEntry

FORMAT: Final = "pt"  # transformers knows no "np"

_NAMES: Final = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
_ML_NAMES: Final = {
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
_DTYPES: Final = {name: dtype for dtype, name in _NAMES.items()}
_ML_DTYPES: Final = {name: dtype for dtype, name in _ML_NAMES.items()}

Array = NDArray[Any]
"""An array, or a scalar such as `np.float32(2)`, which can be used like an array here but has no address."""


def describe(name: str, tensor: Array) -> tuple[str, tuple[int, ...]]:
    """Return the dtype, by the format's name, and the shape. Raises: CheckpointError if the format lacks the dtype."""
    dtype = _NAMES.get(tensor.dtype.name) or _ML_NAMES.get(tensor.dtype.name)
    if dtype is None:
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, f"safetensors has no {tensor.dtype}; convert it first")
    return dtype, tensor.shape


def identity(tensor: Array) -> Hashable:
    """Return a value that is equal for tied arrays only: the same entries of the same memory, read the same way."""
    if tensor.size == 0 or isinstance(tensor, np.generic):
        return None
    return (tensor.ctypes.data, tensor.dtype, tensor.shape, tensor.strides)


def view(tensor: Array) -> memoryview:
    """Return the bytes in C order, little endian; a copy only if they are stored otherwise."""
    array = np.asarray(tensor)
    little = array if _is_little_endian(array) else array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def tensor(entry: TensorEntry, data: memoryview) -> Array:
    """Return an array over `data`.

    Raises: ImportError if the dtype needs `ml_dtypes`, which is missing. CheckpointError if numpy lacks the dtype.
    """
    dtype = _dtype(entry)
    if len(data) == 0:
        return np.empty(entry.shape, dtype)
    return np.frombuffer(data, np.uint8).view(dtype).reshape(entry.shape)


def check_changeable(name: str, tensor: Array) -> None:
    """Raise MismatchError unless each entry is writable, with memory of its own and a zero."""
    dtype, _ = describe(name, tensor)
    if isinstance(tensor, np.generic):
        raise unchangeable_error(name, "it is a number, not an array; use `np.array(number)`")
    if not tensor.flags.writeable:
        raise unchangeable_error(name, "the array is read-only; `copy()` it first")
    if not has_no_overlap(tensor.shape, tensor.strides, tensor.itemsize):
        raise unchangeable_error(name, "several of its entries share memory; `copy()` it first")
    if dtype == WITHOUT_ZERO:
        raise unchangeable_error(name, f"{tensor.dtype} has no zero")


def apply_mask_(tensor: Array, bits: memoryview) -> None:
    """Set to +0.0 the entries whose bit is 0, in place; bits flat in C order and little order.

    Cost: a few MB of memory; near the speed of memory if the array is contiguous.
    """
    numbers = np.asarray(tensor).view(f"u{tensor.itemsize}")
    numbers = numbers.reshape(-1) if numbers.flags.c_contiguous else numbers
    packed = np.frombuffer(bits, np.uint8)
    most = BLOCK_BYTES // numbers.itemsize
    factors = np.empty(min(numbers.size, most), numbers.dtype)
    for block in blocks(numbers.shape, most):
        ones = np.unpackbits(packed[block.packed], count=block.spare + block.entries, bitorder="little")
        np.copyto(factors[: block.entries], ones[block.spare :])
        part = numbers[block.index]
        # Times 0 or 1 as integers: several times as fast as any assignment by condition.
        np.multiply(part, factors[: block.entries].reshape(part.shape), out=part)


def _dtype(entry: TensorEntry) -> np.dtype[Any]:
    if entry.dtype in _DTYPES:
        return np.dtype(_DTYPES[entry.dtype]).newbyteorder("<")
    if entry.dtype not in _ML_DTYPES:
        raise tensor_error(
            Reason.UNKNOWN_DTYPE,
            entry.name,
            f"numpy cannot read {entry.dtype}; write the result to a file with `result.save(path)`",
        )
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")  # not a dependency: only these dtypes need it
    except ImportError as error:
        raise ImportError(
            f"tensor {entry.name!r}: numpy has no {entry.dtype}; install ml_dtypes, import torch before the result is "
            "asked for its state_dict, or write it to a file with `result.save(path)`"
        ) from error
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[entry.dtype]))
    return dtype


def _is_little_endian(array: Array) -> bool:
    return array.dtype.byteorder in "|<" or (array.dtype.byteorder == "=" and sys.byteorder == "little")
