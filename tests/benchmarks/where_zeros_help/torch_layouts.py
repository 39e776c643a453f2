"""torch on a CPU: a pruned layer as a dense matrix, and in the layouts CSR and BSR."""

import warnings
from collections.abc import Callable
from itertools import cycle
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import linear

from tests.benchmarks.where_zeros_help.layers import (
    BATCHES,
    BLOCK,
    SPARSITIES,
    in_blocks,
    inputs,
    unstructured,
    weights,
)
from tests.benchmarks.where_zeros_help.tables import Table, fastest, milliseconds, share

Product: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of a batch of inputs and a weight."""

_FLUSHING_BYTES: Final = 200_000_000
"""Several times as much as the caches hold."""


def tables() -> list[Table]:
    """Measure: one table."""
    warnings.filterwarnings("ignore", message="Sparse")  # that CSR is in beta
    weight = weights()
    zeros = unstructured(weight, 0.9)
    times = [
        fastest(
            {
                "as it is": _cold(linear, batch, weight),
                "zeros": _cold(linear, batch, zeros),
                "bf16": _cold(linear, batch.bfloat16(), weight.bfloat16()),
            }
        )
        for batch in map(inputs, BATCHES)
    ]
    dense = [each["as it is"] for each in times]
    rows = [
        _row("dense, fp32, nothing pruned", 1.0, dense, dense),
        _row("dense, fp32, 90% zeros", 1.0, [each["zeros"] for each in times], dense),
        _row("dense, bf16, nothing pruned", 0.5, [each["bf16"] for each in times], dense),
    ]
    for sparsity in SPARSITIES:
        pruned, blocks = unstructured(weight, sparsity), in_blocks(weight, sparsity)
        csr, bsr = pruned.to_sparse_csr(), blocks.to_sparse_bsr((BLOCK, BLOCK))
        for name, layout, values, run in (
            ("CSR, `w @ x`", csr, pruned, _product),
            ("CSR, `F.linear(x, w)`", csr, pruned, linear),
            ("BSR, blocks of 32 x 32, `w @ x`", bsr, blocks, _product),
        ):
            taken = [_checked(run, batch, layout, values) for batch in map(inputs, BATCHES)]
            rows.append(_row(f"{name}, {sparsity:.0%}", _bytes(layout) / (4 * weight.numel()), taken, dense))
    return [Table(["layer of 4096 x 4096", "bytes", *(f"batch {batch}" for batch in BATCHES)], rows)]


def _row(name: str, size: float, taken: list[float], dense: list[float]) -> list[str]:
    return [name, share(size, 1), *map(milliseconds, taken, dense)]


def _product(batch: Tensor, weight: Tensor) -> Tensor:
    return weight @ batch.T


def _checked(run: Product, batch: Tensor, layout: Tensor, values: Tensor) -> float:
    """Return the seconds of a product, which must be right."""
    found, expected = run(batch, layout), linear(batch, values)
    torch.testing.assert_close(found if found.shape == expected.shape else found.T, expected, rtol=1e-3, atol=1e-3)
    return fastest({"": _cold(run, batch, layout)}, seconds=1.0)[""]


def _cold(run: Product, batch: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    """Return a product whose weight is in no cache, as in a model of many layers: each time it is another copy."""
    copies = cycle([weight.clone() for _ in range(1 + _FLUSHING_BYTES // _bytes(weight))])
    return lambda: run(batch, next(copies))


def _bytes(layout: Tensor) -> int:
    if layout.layout is torch.strided:
        return layout.nbytes
    return layout.values().nbytes + layout.col_indices().nbytes + layout.crow_indices().nbytes
