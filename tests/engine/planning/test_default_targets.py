"""The default targets, compared with the classes of the modules that own the tensors.

`module_tensors.tsv` is recorded by scripts/module_tensors from the architectures of transformers and diffusers that can
be built without other packages. `disagreements.tsv` lists the tensors that the default targets judge differently, and
why.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pruning_engine.planning.selectors.default_targets import EXPERT_NAMES, NOT_LAYERS, WEIGHT_NAMES
from pruning_engine.planning.selectors.name_patterns import compile_selector
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.recipe import Selector
from scripts.module_tensors.architectures import torch_modules, transformers_model
from scripts.module_tensors.kinds import module_tensors

HERE = Path(__file__).parent
PROTO = HERE.parents[2] / "proto" / "pruning_proto" / "v1" / "pruning.proto"
LAYERS = {"layer", "experts"}


def why_not(name: str, dims: int = 2) -> NotSelected | None:
    return compile_selector(Selector(), "select").refuses([name], "F32", dims)


def rows(file: str) -> Iterator[Mapping[str, str]]:
    with (HERE / file).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")


def test_disagreements_with_the_classes_are_those_listed() -> None:
    table = list(rows("module_tensors.tsv"))
    differ = {
        (row["name"], row["dims"], row["class"])
        for row in table
        if (row["kind"] in LAYERS) != (why_not(row["name"], int(row["dims"])) is None)
    }
    listed = {(row["name"], row["dims"], row["class"]) for row in rows("disagreements.tsv")}
    assert len(table) > 4000
    assert differ == listed


def test_disagreements_are_explained() -> None:
    assert [row["name"] for row in rows("disagreements.tsv") if len(row["why"].split()) < 3] == []


def test_modules_of_torch_are_judged_by_class() -> None:
    differ = [
        (architecture, tensor)
        for architecture, model in torch_modules()
        for tensor in module_tensors(model)
        if (tensor.kind in LAYERS) != (why_not(tensor.names[0], tensor.dims) is None)
    ]
    assert differ == []


@pytest.mark.parametrize("name", ["Llama", "Mixtral", "GptOss", "Qwen2Moe", "MPNet", "T5", "Mamba", "ViT", "Whisper"])
def test_models_of_transformers_are_judged_by_class(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers, whose models these are, is not installed")
    model = transformers_model(getattr(transformers, f"{name}Model"), getattr(transformers, f"{name}Config"))
    found = list(module_tensors(model))
    differ = [
        each
        for tensor in found
        for each in tensor.names
        if (tensor.kind in LAYERS) != (why_not(each, tensor.dims) is None)
    ]
    assert found
    assert differ == []


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("weight", 2),
        ("model.layers.0.mlp.gate_proj.weight", 2),
        ("model.layers.0.mlp.experts.gate_up_proj", 3),
        ("layers.0.feed_forward.experts.w1", 3),
        ("model.layers.0.mlp.experts.7.down_proj.weight", 2),
        ("lstm.weight_ih_l0", 2),
        ("lstm.weight_hh_l1_reverse", 2),
        ("lstm.weight_hr_l0", 2),
        ("cell.weight_hh", 2),
        ("attn.in_proj_weight", 2),
        ("attn.q_proj_weight", 2),
        ("conv.weight_v", 3),
        ("conv.parametrizations.weight.original1", 3),
        ("lstm.parametrizations.weight_hh_l0.original1", 2),
        ("discriminator.0.weight_orig", 4),
        ("embeddings.patch_embeddings.projection.weight", 4),
        ("patch_embed.weight", 2),
        ("time_embedding.linear_1.weight", 2),
        ("time_embed.0.weight", 2),
        ("bert.encoder.layer.0.output.dense.weight", 2),
        ("encoder.layers.0.attention.output.weight", 2),
        ("norm1.linear.weight", 2),
        ("head.0.weight", 2),
        ("classifier.weight", 2),
        ("unshared.weight", 2),
    ],
)
def test_weights_of_layers_are_default_targets(name: str, dims: int) -> None:
    assert why_not(name, dims) is None


@pytest.mark.parametrize(
    ("why", "name"),
    [
        *((NotSelected.EMBEDDING, f"{name}.weight") for name in ("emb", "embeddings", "model.embed_tokens", "wte")),
        *((NotSelected.EMBEDDING, f"{name}.weight") for name in ("h.wpe", "t5.shared", "tok_emb", "embed_tokens.0")),
        (NotSelected.EMBEDDING, "block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
        *((NotSelected.OUTPUT_HEAD, f"{name}.weight") for name in ("lm_head", "output", "head", "embed_out")),
        (NotSelected.OUTPUT_HEAD, "cls.predictions.decoder.weight"),
        *((NotSelected.OUTPUT_HEAD, f"{name}.weight") for name in ("to_logits", "layers.61.shared_head.head")),
        *((NotSelected.OUTPUT_HEAD, f"{name}.output_layer.weight") for name in ("transformer", "a.language_model")),
        *((NotSelected.EMBEDDING, f"{name}.weight") for name in ("word_embeds", "atom_embedding_list.0", "emb_luts.0")),
        *((NotSelected.ROUTER, f"layers.0.mlp.{name}.weight") for name in ("gate", "router", "shared_expert_gate")),
        (NotSelected.ROUTER, "layers.0.mlp.router.classifier.weight"),
        *((NotSelected.NORM, f"layers.0.{name}.weight") for name in ("q_norm", "LayerNorm", "ln_1", "ln_f", "grn")),
        *((NotSelected.NAME, f"conv.{name}") for name in ("weight_g", "parametrizations.weight.original0", "bias")),
        (NotSelected.NAME, "layers.0.mlp.experts.gate_up_proj_bias"),
        (NotSelected.NAME, "lstm.weight_hh_l0_g"),
        (NotSelected.NAME, "vit.embeddings.position_embeddings"),
    ],
    ids=str,
)  # fmt: skip
def test_other_weights_are_not_default_targets(why: NotSelected, name: str) -> None:
    assert why_not(name) is why


@pytest.mark.parametrize(
    ("why", "name"),
    [
        (NotSelected.EMBEDDING, "model.embed_tokens.base_layer.weight"),
        (NotSelected.OUTPUT_HEAD, "lm_head.modules_to_save.default.weight"),
        (NotSelected.OUTPUT_HEAD, "lm_head.original_module.weight"),
        (NotSelected.ROUTER, "layers.0.mlp.gate.base_layer.weight"),
        (None, "layers.0.self_attn.q_proj.base_layer.weight"),
        (None, "layers.0.mlp.experts.base_layer.base_layer.gate_up_proj"),
    ],
)
def test_modules_that_peft_wraps_are_judged_alike(why: NotSelected | None, name: str) -> None:
    assert why_not(name) is why


@pytest.mark.parametrize("dims", [2, 3, 4])
def test_norms_of_any_dims_are_not_selected(dims: int) -> None:
    assert why_not("encoder.norm.weight", dims) is NotSelected.NORM


def test_a_rule_excludes_from_the_default_targets() -> None:
    choice = compile_selector(Selector(exclude=("*.0.*",)), "select")
    assert choice.refuses(["l.0.weight"], "F32", 2) is NotSelected.EXCLUDED
    assert choice.refuses(["l.1.weight"], "F32", 2) is None


def test_another_name_of_a_tied_tensor_counts() -> None:
    choice = compile_selector(Selector(), "select")
    assert choice.refuses(["decoder.weight", "model.embed_tokens.weight"], "F32", 2) is NotSelected.EMBEDDING


def test_long_names_are_judged_alike() -> None:
    assert why_not("a" * 200 + "_norm.weight") is NotSelected.NORM
    assert why_not("a" * 200 + ".weight") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("emb_l.0.weight", NotSelected.EMBEDDING),
        ("gate.0.weight", NotSelected.ROUTER),
        ("norm.1.0.weight", NotSelected.NORM),
        ("0.weight", None),
        ("norm.0.w1.weight", None),
    ],
)
def test_numbers_at_the_end_of_a_path_are_passed_over(name: str, why: NotSelected | None) -> None:
    assert why_not(name) is why


def test_names_of_many_numbers_are_judged_in_one_pass() -> None:
    assert why_not("norm" + ".0" * 2_000_000 + ".weight") is NotSelected.NORM  # half an hour, in a pass for each


def test_the_contract_lists_the_tables() -> None:
    text = re.sub(r"\n\s*//", "", PROTO.read_text(encoding="utf-8"))
    match = re.search(r"The default targets are(.*?)These names may grow", text)
    assert match is not None
    patterns = {pattern for row in NOT_LAYERS for pattern in (*row.modules, *row.but)}
    listed = set(re.findall(r"`([^` ]+)`", match[1]))
    assert patterns | {*WEIGHT_NAMES, *EXPERT_NAMES} == listed - {"*experts", "original1", "router"}
