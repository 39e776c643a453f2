"""Files: what zeros save, by the general compressors, in packed files, and where indices are stored."""

import gzip
import lzma
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import torch
from backports import zstd
from safetensors.torch import load_file, save_file
from torch import Tensor

from pruning_client import pack_file, rules
from pruning_client.local.client import LocalClient
from scripts.demo import minilm
from tests.benchmarks.where_zeros_help.layers import unstructured, weights
from tests.benchmarks.where_zeros_help.tables import Table, seconds_of, share

_ROWS: Final = 1024
"""Of the layer: a part of a file of random weights does not depend on its size, and xz takes long."""

Tensors = Mapping[str, Tensor]

_WAYS: Final[Mapping[str, Callable[[Path, Path], object]]] = {
    "safetensors, as it is": lambda file, out: out.write_bytes(file.read_bytes()),
    "gzip -6": lambda file, out: out.write_bytes(gzip.compress(file.read_bytes(), 6)),
    "zstd -3": lambda file, out: out.write_bytes(zstd.compress(file.read_bytes(), 3)),
    "xz -6": lambda file, out: out.write_bytes(lzma.compress(file.read_bytes(), preset=6)),
    "`prune pack`": pack_file,
    "`prune pack --zstd`": partial(pack_file, compression="zstd"),
    "`to_sparse_csr()`, `torch.save`": lambda file, out: torch.save(_csr(file), out),
    "`to_sparse_csr().clone()`, `torch.save`": lambda file, out: torch.save(_cloned(_csr(file)), out),
    "CSR's parts with 32-bit indices, in safetensors": lambda file, out: save_file(_parts(_csr(file)), out),
}


def tables() -> list[Table]:
    """Measure: one table."""
    warnings.filterwarnings("ignore", message="Sparse")  # that CSR is in beta
    heads, columns = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, tensors in _models(Path(folder)).items():
            file, out = Path(folder) / "dense.safetensors", Path(folder) / "out"
            save_file(dict(tensors), file)
            taken, column = {}, {}
            for way, write in _WAYS.items():
                taken[way] = seconds_of(partial(write, file, out))
                column[way] = share(out.stat().st_size, file.stat().st_size)
            heads.append(name)
            columns.append(column)
            if len(columns) == 1:
                seconds = taken
    rows = [[way, *(column[way] for column in columns), f"{seconds[way]:.2f} s"] for way in _WAYS]
    return [Table(["part of the dense file", *heads, "to write the first"], rows)]


def _models(folder: Path) -> dict[str, Tensors]:
    layer = weights()[:_ROWS]
    return {
        "bf16, 50%": {"layer.weight": unstructured(layer, 0.5).bfloat16()},
        "bf16, 90%": {"layer.weight": unstructured(layer, 0.9).bfloat16()},
        "fp32, 50%": {"layer.weight": unstructured(layer, 0.5)},
        "fp32, 90%": {"layer.weight": unstructured(layer, 0.9)},
        "bf16, nothing pruned": {"layer.weight": layer.bfloat16()},
        "MiniLM, bf16, 50% of its layers": {name: value.bfloat16() for name, value in _minilm(folder).items()},
    }


def _minilm(folder: Path) -> dict[str, Tensor]:
    with LocalClient() as client:
        client.prune_file(minilm(), folder / "pruned", rules.l1_unstructured(0.5, scope="global"))
    found: dict[str, Tensor] = load_file(folder / "pruned")
    return {name: value for name, value in found.items() if value.is_floating_point()}


def _csr(file: Path) -> dict[str, Tensor]:
    return {name: value.to_sparse_csr() if value.dim() == 2 else value for name, value in load_file(file).items()}


def _cloned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what safetensors takes: it refuses sparse tensors."""
    parts: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.layout is not torch.sparse_csr:
            parts[name] = value
            continue
        parts[f"{name}.rows"] = value.crow_indices().to(torch.int32)
        parts[f"{name}.columns"] = value.col_indices().to(torch.int32)
        parts[f"{name}.values"] = value.values()
    return parts
