"""A layer as an ONNX model: with a dense initializer, or a sparse one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tests.benchmarks.where_zeros_help import packages


def matmul_model(weight: Tensor, *, is_sparse: bool = False) -> bytes:
    """Return the file of a model `y = x @ w`, of a weight of outputs by inputs."""
    onnx = packages.package("onnx")
    values = np.ascontiguousarray(weight.numpy().T)
    inputs, outputs = values.shape
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    stored = {"sparse_initializer": [_sparse(values)]} if is_sparse else {"initializer": [_dense(values, "w")]}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", kind, ["batch", inputs])],
        [helper.make_tensor_value_info("y", kind, ["batch", outputs])],
        **stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def _dense(values: NDArray[Any], name: str) -> Any:
    return packages.package("onnx").numpy_helper.from_array(values, name)


def _sparse(values: NDArray[Any]) -> Any:
    flat = values.reshape(-1)
    places = np.flatnonzero(flat)
    parts = _dense(flat[places], "w"), _dense(places.astype(np.int64), "w_indices")
    return packages.package("onnx").helper.make_sparse_tensor(*parts, list(values.shape))
