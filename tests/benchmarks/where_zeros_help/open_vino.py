"""OpenVINO on a CPU: zeros in fp32 and in int8, and the option that keeps int8 weights packed."""

from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.where_zeros_help import packages
from tests.benchmarks.where_zeros_help.layers import BATCHES, inputs, unstructured, weights
from tests.benchmarks.where_zeros_help.tables import Table, fastest, milliseconds

_RATE: Final = "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE"


def tables() -> list[Table]:
    """Measure: one table."""
    weight = weights()
    tenth = unstructured(weight, 0.9)
    cases: dict[str, tuple[Tensor, bool, float]] = {
        "fp32, nothing pruned": (weight, False, 1.0),
        "fp32, 90% zeros": (tenth, False, 1.0),
        "int8, nothing pruned": (weight, True, 1.0),
        "int8, 90% zeros": (tenth, True, 1.0),
        f"int8, 90% zeros, `{_RATE}=0.5`": (tenth, True, 0.5),
    }
    times: list[dict[str, float]] = []
    kernels: dict[str, str] = {}
    for batch in BATCHES:
        runs = {}
        for name, (values, is_int8, rate) in cases.items():
            model = _compiled(values, batch, is_int8=is_int8, rate=rate)
            kernels[name] = _kernel(model)
            runs[name] = partial(model.create_infer_request().infer, {0: inputs(batch).numpy()})
        times.append(fastest(runs))
    first = next(iter(cases))
    rows = [[name, *(milliseconds(each[name], each[first]) for each in times), f"`{kernels[name]}`"] for name in cases]
    return [Table(["layer of 4096 x 4096", *(f"batch {batch}" for batch in BATCHES), "kernel"], rows)]


def _compiled(weight: Tensor, batch: int, *, is_int8: bool, rate: float) -> Any:
    openvino = packages.package("openvino")
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32", _RATE: rate}
    model = _int8(openvino, weight, batch) if is_int8 else _fp32(openvino, weight, batch)
    return openvino.Core().compile_model(model, "CPU", settings)


def _fp32(openvino: Any, weight: Tensor, batch: int) -> Any:
    operators = openvino.opset13
    x = operators.parameter([batch, weight.shape[1]], np.float32)
    return openvino.Model([operators.matmul(x, operators.constant(weight.numpy()), False, True)], [x], "layer")


def _int8(openvino: Any, weight: Tensor, batch: int) -> Any:
    """Return the layer with weights and inputs of 8 bits, as quantized models have it."""
    operators = openvino.opset13
    x = operators.parameter([batch, weight.shape[1]], np.float32)
    scale = weight.abs().amax(1, keepdim=True) / 127
    codes = operators.convert(operators.constant((weight / scale).round().to(torch.int8).numpy()), "f32")
    low, high = np.float32(-4), np.float32(4)
    rounded = operators.fake_quantize(x, low, high, low, high, 256)
    weights_again = operators.multiply(codes, operators.constant(scale.numpy()))
    return openvino.Model([operators.matmul(rounded, weights_again, False, True)], [x], "layer")


def _kernel(model: Any) -> str:
    """Return the name of the kernel that computes the product; those that unpack weights have "sparse" in it."""
    for operator in model.get_runtime_model().get_ordered_ops():
        about = operator.get_rt_info()
        if str(about["layerType"].value) == "FullyConnected":
            return str(about["primitiveType"].value)
    return "?"
