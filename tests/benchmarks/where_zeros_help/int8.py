"""8-bit weights: which ways of quantizing keep zeros, and what is left for a compressor to save."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from backports import zstd
from torch import Tensor

from tests.benchmarks.where_zeros_help import packages
from tests.benchmarks.where_zeros_help.layers import unstructured, weights
from tests.benchmarks.where_zeros_help.onnx_models import matmul_model
from tests.benchmarks.where_zeros_help.tables import Table, share

_ROWS: Final = 1024

Quantized = tuple[Tensor, Tensor]
"""The codes, and the weights that they stand for."""


def tables() -> list[Table]:
    """Measure: one table."""
    values = unstructured(weights()[:_ROWS], 0.5)
    zeros = values == 0
    rows = []
    for name, quantize in _WAYS.items():
        codes, read = quantize(values)
        stay, new = int((read[zeros] == 0).sum()), int((read[~zeros] == 0).sum())
        size = len(zstd.compress(codes.numpy().tobytes(), 3))
        rows.append([name, share(stay, int(zeros.sum())), share(new, int((~zeros).sum())), share(size, codes.nbytes)])
    return [Table(["8 bits, half of the weights 0", "zeros that stay 0", "others that become 0", "zstd -3"], rows)]


def _symmetric(values: Tensor) -> Quantized:
    scale = values.abs().amax(1, keepdim=True) / 127
    codes = (values / scale).round().to(torch.int8)
    return codes, codes * scale


def _integer_zero_point(values: Tensor) -> Quantized:
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    scale = (high - low) / 255
    zero = (-low / scale).round()
    codes = ((values / scale).round() + zero).clamp(0, 255).to(torch.uint8)
    return codes, (codes - zero) * scale


def _minimum(values: Tensor) -> Quantized:
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    scale = (high - low) / 255
    codes = ((values - low) / scale).round().to(torch.uint8)
    return codes, codes * scale + low


def _float8(values: Tensor) -> Quantized:
    scale = values.abs().amax(1, keepdim=True) / 448
    codes = (values / scale).to(torch.float8_e4m3fn)
    return codes.view(torch.uint8), codes.float() * scale


def _onnx(values: Tensor, kind: str) -> Quantized:
    onnx, quantization = packages.package("onnx"), packages.package("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "dense.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(matmul_model(values))
        quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType[kind])
        tensors: dict[str, Any] = {
            each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(target).graph.initializer
        }
    codes = torch.from_numpy(tensors["w_quantized"].T.copy())
    zero, scale = (float(np.asarray(tensors[f"w_{part}"])) for part in ("zero_point", "scale"))
    return codes, (codes.float() - zero) * scale


_WAYS: Final[Mapping[str, Callable[[Tensor], Quantized]]] = {
    "symmetric int8, a scale per row": _symmetric,
    "float8 (e4m3), a scale per row": _float8,
    "asymmetric uint8, zero point an integer": _integer_zero_point,
    "asymmetric uint8, minimum a float": _minimum,
    "ONNX Runtime, `quantize_dynamic(QInt8)`": lambda values: _onnx(values, "QInt8"),
    "ONNX Runtime, `quantize_dynamic(QUInt8)`": lambda values: _onnx(values, "QUInt8"),
}
