"""`Statistics.from_imatrix` on files in llama.cpp's format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pruning_client import Statistics, rules
from pruning_client.calls.request import PruneOptions, request_of
from pruning_client.errors import CheckpointError
from pruning_client.statistics.gguf import weights_of
from pruning_client.torch.collection.disk_names import DiskNames
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.statistics.imatrix_files import write_imatrix
from tests.client.statistics.values import values
from tests.client.torch.tiny_models import SIZES

gguf = pytest.importorskip("gguf", reason="needs the extra `imatrix`")

ATTENTION = "model.layers.3.self_attn"
ONE = {"blk.3.attn_q.weight": [[1.0, 4.0]]}


def written(path: Path, **sums: list[list[float]]) -> Statistics:
    """Statistics of an imatrix whose weights are in layer 3; each count is 1 more than the one before."""
    names = {f"blk.3.{name}.weight": rows for name, rows in sums.items()}
    counts = {name: list(range(5, 5 + len(rows))) for name, rows in names.items()}
    return Statistics.from_imatrix(write_imatrix(path / "imatrix.gguf", names, counts))


def test_sums_and_counts_are_those_of_the_file(tmp_path: Path) -> None:
    found = written(tmp_path, attn_q=[[1.0, 4.0]], attn_output=[[9.0, 16.0]], ffn_down=[[1.0, 2.0, 3.0]])
    assert found.kind == "norms"
    assert values(found, f"{ATTENTION}.q_proj.weight:in_sum2") == [1.0, 4.0]
    assert values(found, f"{ATTENTION}.o_proj.weight:in_sum2") == [9.0, 16.0]
    assert values(found, "model.layers.3.mlp.down_proj.weight:in_sum2") == [1.0, 2.0, 3.0]
    assert found.tensors[f"{ATTENTION}.q_proj.weight:in_count"].shape == ()
    assert values(found, f"{ATTENTION}.q_proj.weight:in_count") == 5
    assert found.tokens[f"{ATTENTION}.q_proj.weight"] == 5
    assert found.input_dims[f"{ATTENTION}.q_proj.weight"] == 1


def test_equal_statistics_of_a_layer_are_kept_once(tmp_path: Path) -> None:
    found = written(tmp_path, attn_q=[[1.0, 4.0]], attn_k=[[1.0, 4.0]], attn_v=[[1.0, 5.0]])
    assert found.aliases == {
        f"{ATTENTION}.k_proj.weight{suffix}": f"{ATTENTION}.q_proj.weight{suffix}"
        for suffix in (":in_sum2", ":in_count")
    }
    assert values(found, f"{ATTENTION}.v_proj.weight:in_sum2") == [1.0, 5.0]


def test_experts_have_the_names_of_each_family(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        ffn_gate_exps=[[1.0, 2.0], [3.0, 4.0]],
        ffn_up_exps=[[1.0, 2.0], [3.0, 4.0]],
        ffn_down_exps=[[5.0], [6.0]],
    )
    layer = "model.layers.3"
    names = [
        f"{layer}.mlp.experts.1.up_proj.weight",
        f"{layer}.block_sparse_moe.experts.1.w3.weight",
        f"{layer}.block_sparse_moe.experts.1.w2.weight",
        f"{layer}.mlp.experts.gate_up_proj",
        f"{layer}.mlp.experts.down_proj",
    ]
    sums = [values(found, f"{name}:in_sum2") for name in names]
    assert sums == [[3.0, 4.0], [3.0, 4.0], [6.0], [[1.0, 2.0], [3.0, 4.0]], [[5.0], [6.0]]]
    assert values(found, f"{names[3]}:in_count") == [5, 6]


def test_head_and_shared_experts_and_routers_are_mapped(tmp_path: Path) -> None:
    names = {"output.weight": [[1.0]], "blk.0.ffn_gate_shexp.weight": [[2.0]], "blk.0.ffn_gate_inp.weight": [[3.0]]}
    found = Statistics.from_imatrix(write_imatrix(tmp_path / "i.gguf", names, {name: [1] for name in names}))
    assert values(found, "lm_head.weight:in_sum2") == [1.0]
    assert values(found, "model.layers.0.mlp.shared_expert.gate_proj.weight:in_sum2") == [2.0]
    assert values(found, "model.layers.0.mlp.gate.weight:in_sum2") == [3.0]


ARCHITECTURES = {
    "llama": ("LLAMA", transformers.LlamaConfig),
    "mistral": ("LLAMA", transformers.MistralConfig),
    "qwen2": ("QWEN2", transformers.Qwen2Config),
    "qwen3": ("QWEN3", transformers.Qwen3Config),
    "qwen3_moe": ("QWEN3MOE", transformers.Qwen3MoeConfig),
    "mixtral": ("LLAMA", transformers.MixtralConfig),
    "gemma2": ("GEMMA2", transformers.Gemma2Config),
    "gemma3": ("GEMMA3", transformers.Gemma3TextConfig),
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_names_are_those_of_the_converter_of_llama_cpp(kind: str) -> None:
    """Each linear layer that `gguf` names is mapped back to the name in a model's file."""
    architecture, config = ARCHITECTURES[kind]
    known = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture), 2)
    sizes: dict[str, Any] = {**SIZES, "head_dim": 8}
    model: torch.nn.Module = transformers.AutoModelForCausalLM.from_config(config(**sizes))  # type: ignore[no-untyped-call]
    on_disk = DiskNames(model)
    linear = [f"{path}.weight" for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    names = [name for each in linear if (name := on_disk.of(each)) and each != "lm_head.weight"]  # Gemma's is tied
    assert len(names) >= 8
    for name in names:
        assert name in weights_of(f"{known.get_name(name.removesuffix('.weight'))}.weight", "model.")


def test_names_that_are_not_known_are_listed(tmp_path: Path) -> None:
    found = written(tmp_path, ssm_in=[[1.0]], attn_q=[[1.0]], attn_qkv=[[2.0]])
    assert found.unmapped == ("blk.3.ssm_in.weight", "blk.3.attn_qkv.weight")
    assert found.weights == (f"{ATTENTION}.q_proj.weight",)


def test_prefix_of_layers_can_be_given(tmp_path: Path) -> None:
    path = write_imatrix(tmp_path / "i.gguf", ONE, {name: [1] for name in ONE})
    found = Statistics.from_imatrix(path, prefix="model.language_model.")
    assert found.weights == ("model.language_model.layers.3.self_attn.q_proj.weight",)


def test_file_survives_saving(tmp_path: Path) -> None:
    written(tmp_path, attn_q=[[1.0, 4.0]], attn_qkv=[[2.0]]).save(tmp_path / "statistics")
    found = Statistics.load(tmp_path / "statistics")
    assert values(found, f"{ATTENTION}.q_proj.weight:in_sum2") == [1.0, 4.0]
    assert found.unmapped == ("blk.3.attn_qkv.weight",)


def test_path_of_an_imatrix_is_statistics_of_a_call(tmp_path: Path) -> None:
    path = write_imatrix(tmp_path / "i.gguf", ONE, {name: [1] for name in ONE})
    options = PruneOptions(output=pb.OUTPUT_FORM_PRUNED, statistics=path)
    request = request_of({f"{ATTENTION}.q_proj.weight": np.ones((3, 2))}, rules.l1_unstructured(0.5), options)
    assert request.statistics is not None
    assert values(request.statistics, f"{ATTENTION}.q_proj.weight:in_sum2") == [1.0, 4.0]


def test_legacy_file_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(np.array([1, 20], "<i4").tobytes() + b"blk.0.attn_q.weight\0" + bytes(64))
    with pytest.raises(CheckpointError, match=r"earlier format \(\.dat\), convert it: llama-imatrix --in-file"):
        Statistics.from_imatrix(path)


def test_model_in_gguf_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("output.weight", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"is not an imatrix: it has no tensor NAME\.in_sum2"):
        Statistics.from_imatrix(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("sums", "counts", "message"),
    [
        ([[1.0, -4.0]], [1], "negative or not finite"),
        ([[1.0, float("inf")]], [1], "negative or not finite"),
        ([[1.0, 4.0]], [1, 2], "has 2 counts for 1 row of"),
    ],
    ids=["negative", "infinite", "counts"],
)
def test_damaged_sums_are_refused(tmp_path: Path, sums: list[list[float]], counts: list[int], message: str) -> None:
    path = write_imatrix(tmp_path / "i.gguf", dict.fromkeys(ONE, sums), dict.fromkeys(ONE, counts))
    with pytest.raises(CheckpointError, match=message):
        Statistics.from_imatrix(path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_imatrix(tmp_path / "i.gguf", ONE, {name: [1] for name in ONE})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read as GGUF"):
        Statistics.from_imatrix(path)
