"""GGUF: which of its types keep zeros, measured with ggml's own quantizers, those of llama.cpp."""

import ctypes
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize
from numpy.typing import NDArray

from tests.benchmarks.where_zeros_help import packages
from tests.benchmarks.where_zeros_help.layers import unstructured, weights
from tests.benchmarks.where_zeros_help.tables import Table, share

_ROWS: Final = 256
_NOT_OF_FILES: Final = ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64", "F32")
"""Types of activations, of indices, and what needs no quantizing."""


def tables() -> list[Table]:
    """Measure: one table."""
    ggml = _library()
    values = unstructured(weights()[:_ROWS], 0.5).numpy()
    rows = [_row(ggml, kind, values) for kind in Type if kind.name not in _NOT_OF_FILES and _is_known(ggml, kind)]
    order = sorted(rows, key=lambda row: (-float(row[2].rstrip("%")), -float(row[1])))
    return [Table(["type", "bits per weight", "zeros that stay 0", "other weights that become 0"], order)]


def _row(ggml: Any, kind: Type, values: NDArray[np.float32]) -> list[str]:
    read = dequantize(_quantized(ggml, kind, values), kind)
    zeros = values == 0
    stay, new = int((read[zeros] == 0).sum()), int((read[~zeros] == 0).sum())
    count, size = gguf.GGML_QUANT_SIZES[kind]
    return [kind.name, f"{size * 8 / count:.3g}", share(stay, zeros.sum()), share(new, (~zeros).sum())]


def _quantized(ggml: Any, kind: Type, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    rows, columns = values.shape
    count, size = gguf.GGML_QUANT_SIZES[kind]
    found = np.zeros((rows, columns // count * size), np.uint8)
    importance = np.ones(columns, np.float32).ctypes if ggml.ggml_quantize_requires_imatrix(int(kind)) else None
    pointer = importance.data_as(ctypes.c_void_p) if importance is not None else None
    ggml.ggml_quantize_chunk(
        int(kind),
        values.ctypes.data_as(ctypes.c_void_p),
        found.ctypes.data_as(ctypes.c_void_p),
        *map(ctypes.c_int64, (0, rows, columns)),
        pointer,
    )
    return found


def _is_known(ggml: Any, kind: Type) -> bool:
    """Whether both ggml and the package gguf have the type."""
    values = unstructured(weights()[:2], 0.5).numpy()
    if not ggml.ggml_type_size(int(kind)):
        return False
    try:
        return bool(dequantize(_quantized(ggml, kind, values), kind).size)
    except NotImplementedError:
        return False


def _library() -> Any:
    path = next(Path(packages.folder()).glob("pywhispercpp.libs/libggml-base*"))
    ggml: Any = ctypes.CDLL(str(path))
    ggml.ggml_type_size.restype = ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    return ggml
