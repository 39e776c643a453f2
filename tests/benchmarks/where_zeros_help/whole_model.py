"""A whole model, MiniLM: with zeros, with sparse layouts, and with half of its feed-forward channels removed."""

import copy
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn

from pruning_client import rules
from pruning_client.local.client import LocalClient
from pruning_client.torch import load_pruned
from scripts.demo import minilm
from tests.benchmarks.where_zeros_help import packages
from tests.benchmarks.where_zeros_help.tables import Table, fastest, milliseconds, share

_SHAPES: Final = ((1, 32), (8, 64))
"""Sentences, and tokens of each."""

Run = Callable[[Tensor], object]


class Vectors(nn.Module):
    """A model whose result is one tensor, the vectors of all tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors, of tokens that are all attended to."""
        found: Tensor = self.model(tokens).last_hidden_state
        return found


def tables() -> list[Table]:
    """Measure: one table."""
    warnings.filterwarnings("ignore")  # of the exporter, and that CSR is in beta
    models = _models()
    sizes = {name: sum(value.nbytes for value in model.state_dict().values()) for name, model in models.items()}
    in_torch = {name: _torch(model) for name, model in models.items()}
    in_torch["90% zeros, CSR"] = _torch(_in_csr(models["90% zeros"]))
    rows = _rows("torch", in_torch, sizes)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: _exported(model, Path(folder) / f"{name}.onnx") for name, model in models.items()}
        rows += _rows("ONNX Runtime", {name: _onnx_runtime(file) for name, file in files.items()}, sizes)
        rows += _rows("OpenVINO", {name: _openvino(file) for name, file in files.items()}, sizes)
    return [Table(["MiniLM", "bytes, dense", *(f"{batch} x {tokens} tokens" for batch, tokens in _SHAPES)], rows)]


def _rows(runtime: str, runs: Mapping[str, Run], sizes: Mapping[str, int]) -> list[list[str]]:
    """Measure one runtime, before the next one is there: their threads would wait for work beside it."""
    with torch.no_grad():  # CSR fails in inference mode
        times = [_times(runs, *shape) for shape in _SHAPES]
    whole, first = sizes["as it is"], "as it is"
    return [
        [
            f"{runtime}, {name}",
            share(sizes[name.removesuffix(", CSR")], whole),
            *(milliseconds(each[name], each[first]) for each in times),
        ]
        for name in runs
    ]


def _times(runs: Mapping[str, Run], batch: int, tokens: int) -> dict[str, float]:
    ids = torch.randint(1000, 20000, (batch, tokens), generator=torch.Generator().manual_seed(0))
    return fastest({name: partial(run, ids) for name, run in runs.items()}, seconds=4)


def _models() -> dict[str, nn.Module]:
    with tempfile.TemporaryDirectory() as folder, LocalClient() as client:
        zeros, removed = Path(folder) / "zeros", Path(folder) / "removed"
        client.prune_file(minilm(), zeros, rules.l1_unstructured(0.9))
        client.prune_file(minilm(), removed, rules.remove_units(0.5, map="bert_ffn"), output="removed")
        return {
            "as it is": _model(),
            "90% zeros": _loaded(zeros),
            "half of the feed-forward channels removed": _loaded(removed),
        }


def _model() -> nn.Module:
    model: Any = transformers.AutoModel.from_pretrained(minilm().parent, attn_implementation="eager")
    found: nn.Module = model.float().eval()
    return found


def _loaded(file: Path) -> nn.Module:
    model = _model()
    load_pruned(model, file, strict=False)  # the file has position ids, which transformers no longer loads
    return model


def _in_csr(model: nn.Module) -> nn.Module:
    """Return a model with the weights of its linear layers in CSR."""
    found = copy.deepcopy(model)
    for layer in found.modules():
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(layer.weight.detach().to_sparse_csr(), requires_grad=False)
    return found


def _torch(model: nn.Module) -> Run:
    return Vectors(model).eval()


def _exported(model: nn.Module, file: Path) -> Path:
    packages.package("onnx")  # torch's exporter looks for it
    axes = {"tokens": {0: "batch", 1: "length"}}
    with torch.no_grad():
        torch.onnx.export(
            Vectors(model).eval(),
            (torch.ones(2, 16, dtype=torch.int64),),
            file,
            dynamo=False,
            input_names=["tokens"],
            dynamic_axes=axes,
            opset_version=17,
        )
    return file


def _onnx_runtime(file: Path) -> Run:
    runtime = packages.package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that spin slow the next session
    session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(None, {"tokens": ids.numpy()})


def _openvino(file: Path) -> Run:
    openvino = packages.package("openvino")
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    return lambda ids: request.infer({0: ids.numpy()})
