"""torch's kernels for 2:4 sparsity on GPUs of NVIDIA, where there is one; else what happens without."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.sparse import to_sparse_semi_structured

from tests.benchmarks.where_zeros_help.layers import inputs, weights
from tests.benchmarks.where_zeros_help.tables import Table, fastest, milliseconds

_BATCHES = (64, 1024, 8192)


def tables() -> list[Table]:
    """Measure: one table."""
    if not torch.cuda.is_available():
        return [Table(["2:4 on a GPU", "result"], [["no GPU here: not measured", ""], ["on a CPU", _on_cpu()]])]
    weight = _two_of_four(weights()).half().cuda()
    sparse = to_sparse_semi_structured(weight)
    rows = []
    for batch in _BATCHES:
        x = inputs(batch).half().cuda()
        times = fastest({"dense": partial(_run, x, weight), "2:4": partial(_run, x, sparse)})
        rows.append([f"fp16, batch {batch:,}", *(milliseconds(times[name], times["dense"]) for name in times)])
    return [Table([torch.cuda.get_device_name(), "dense", "2:4"], rows)]


def _run(batch: Tensor, weight: Tensor) -> None:
    linear(batch, weight)
    torch.cuda.synchronize()


def _two_of_four(weight: Tensor) -> Tensor:
    groups = weight.reshape(len(weight), -1, 4)
    order = groups.abs().argsort(dim=2).argsort(dim=2)
    return torch.where(order < 2, 0.0, groups).reshape(weight.shape)


def _on_cpu() -> str:
    try:
        to_sparse_semi_structured(_two_of_four(weights()).half())
    except RuntimeError as error:
        return f"refused: {str(error).splitlines()[0]}"
    return "taken"
