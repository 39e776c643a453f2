"""ONNX Runtime: a pruned layer with a dense initializer full of zeros, and with a sparse one."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from backports import zstd
from torch import Tensor
from torch.nn.functional import linear

from tests.benchmarks.where_zeros_help import packages
from tests.benchmarks.where_zeros_help.layers import BATCHES, inputs, unstructured, weights
from tests.benchmarks.where_zeros_help.onnx_models import matmul_model
from tests.benchmarks.where_zeros_help.tables import Table, fastest, milliseconds, share


def tables() -> list[Table]:
    """Measure: one table."""
    weight = weights()
    half, tenth = unstructured(weight, 0.5), unstructured(weight, 0.9)
    models = {
        "nothing pruned": (weight, matmul_model(weight)),
        "dense initializer, 50% zeros": (half, matmul_model(half)),
        "dense initializer, 90% zeros": (tenth, matmul_model(tenth)),
        "sparse initializer, 50% zeros": (half, matmul_model(half, is_sparse=True)),
        "sparse initializer, 90% zeros": (tenth, matmul_model(tenth, is_sparse=True)),
    }
    sessions = {name: _session(content, values) for name, (values, content) in models.items()}
    times = [
        fastest({name: partial(session.run, None, {"x": batch}) for name, session in sessions.items()})
        for batch in (inputs(batch).numpy() for batch in BATCHES)
    ]
    size = len(models["nothing pruned"][1])
    rows = [
        [
            name,
            share(len(content), size),
            share(len(zstd.compress(content, 3)), size),
            *(milliseconds(each[name], each["nothing pruned"]) for each in times),
        ]
        for name, (_, content) in models.items()
    ]
    return [Table(["layer of 4096 x 4096", "file", "file, zstd -3", *(f"batch {batch}" for batch in BATCHES)], rows)]


def _session(content: bytes, values: Tensor) -> Any:
    """Return what runs a model, which must compute the right product."""
    runtime = packages.package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that spin slow the next session
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "layer.onnx"
        file.write_bytes(content)
        session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    batch = inputs(3)
    found = torch.from_numpy(session.run(None, {"x": batch.numpy()})[0])
    torch.testing.assert_close(found, linear(batch, values), rtol=1e-3, atol=1e-3)
    return session
