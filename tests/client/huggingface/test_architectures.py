"""Built-in maps on folders of many architectures: the result loads and computes what zeros compute, or it is refused.

The folder is put together here from the pruned file and the config, without the check before the rename: transformers
loads it in this process.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_client import Client, Recipe, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_json import read_config, updated_config, with_head_dims
from pruning_client.huggingface.folder import prune_folder
from pruning_client.results.output_format import Output
from tests.client.huggingface.tiny_models import decoder, other, outputs
from tests.servers import ServerProcess

MLP, HEADS, FFN = "llama_mlp", "llama_kv_groups", "bert_ffn"

MLP_DECODERS = (
    *("Cohere", "DeepseekV2", "DeepseekV3", "Dots1", "Ernie4_5_Moe", "Gemma2", "Gemma3", "Gemma3n", "Gemma4", "Glm4"),
    *(
        "HunYuanMoEV1",
        "Llama",
        "Llama4",
        "MiniMaxM2",
        "Mixtral",
        "Olmo2",
        "Olmoe",
        "Phi3",
        "Qwen2",
        "Qwen2Moe",
        "Qwen3",
    ),
    *("Qwen3Moe", "Qwen3Next", "StableLm"),
)
HEADS_DECODERS = (
    *("Cohere", "Dots1", "Ernie4_5_Moe", "Gemma2", "Gemma3", "Gemma3n", "Gemma4", "Glm4", "GptOss", "HunYuanMoEV1"),
    *("Llama", "Llama4", "Mixtral", "Nemotron", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Qwen3Next"),
)
OTHER_MODELS = (
    *((f"{name}ForMaskedLM", FFN) for name in ("Bert", "Roberta")),
    *(
        (name, FFN)
        for name in ("OPTForCausalLM", "ViTForImageClassification", "BartForConditionalGeneration", "CLIPModel")
    ),
    *((f"{name}ForConditionalGeneration", MLP) for name in ("Llava", "Gemma3", "Qwen2VL", "Qwen2_5_VL", "T5Gemma")),
    *((f"{name}ForConditionalGeneration", HEADS) for name in ("Llava", "Gemma3", "T5Gemma")),
)


def cases(names: Iterable[str], channel_map: str) -> list[Any]:
    return [pytest.param(decoder, name, channel_map, id=f"{name} {channel_map}") for name in names]


def pruned(server: ServerProcess, folder: Path, channel_map: str, output: Output) -> Path:
    """Prune a folder's file, and write the config that fits it."""
    config = read_config(folder / "config.json")
    rule = rules.remove_units(0.5, map=channel_map)
    recipe = with_head_dims(config, Recipe([rule]).to_message())
    target = folder.with_name(output)
    target.mkdir()
    with Client(server.address) as client:
        source = folder / "model.safetensors"
        report = client.prune_file(source, target / source.name, Recipe.from_message(recipe), output=output)
    new = updated_config(config, report.groups, recipe) if output == "removed" else config
    (target / "config.json").write_text(json.dumps(new))
    return target


def loaded(model_class: Any, folder: Path) -> Any:
    """Load a model; every tensor of the file has its place, and every place its tensor."""
    model, told = model_class.from_pretrained(folder, output_loading_info=True)
    assert {kind: names for kind, names in told.items() if names} == {}
    return model


@pytest.mark.parametrize(
    ("make", "name", "channel_map"),
    [
        *cases(MLP_DECODERS, MLP),
        *cases(HEADS_DECODERS, HEADS),
        *cases(("Phi",), FFN),
        *(pytest.param(other, *case, id=" ".join(case)) for case in OTHER_MODELS),
    ],
)
def test_removal_computes_what_zeros_compute(
    server: ServerProcess, tmp_path: Path, make: Any, name: str, channel_map: str
) -> None:
    model = make(name)
    model.save_pretrained(tmp_path / "model")
    zeroed = loaded(type(model), pruned(server, tmp_path / "model", channel_map, "pruned"))
    small = loaded(type(model), pruned(server, tmp_path / "model", channel_map, "removed"))
    assert small.num_parameters() < zeroed.num_parameters()
    torch.testing.assert_close(outputs(small), outputs(zeroed), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "name", "channel_map", "wrong"),
    [
        (decoder, "BitNet", MLP, r"mlp\.ffn_sub_norm\.weight.* normalizes over the channels"),
        (decoder, "BitNet", HEADS, r"attn_sub_norm\.weight.* normalizes over the channels"),
        (decoder, "Olmo2", HEADS, r"k_norm\.weight' of shape \[8\], which normalizes over the channels"),
        (decoder, "Olmoe", HEADS, r"k_norm\.weight' of shape \[8\], which normalizes over the channels"),
        (decoder, "StableLm", HEADS, r"norms\.0\.weight' of shape \[4\], which normalizes over the channels"),
        (decoder, "GptOss", MLP, "no block that map 'llama_mlp' fits"),
        (other, "GPT2LMHeadModel", FFN, "no block that map 'bert_ffn' fits"),
        (other, "Dinov2Model", FFN, r"\(intermediate_size is 16 now\).*fc1\.bias"),
        (other, "Qwen2VLForConditionalGeneration", FFN, r"visual\.blocks\.0\.mlp': config.json has no field"),
        (other, "Qwen2VLForConditionalGeneration", HEADS, "does not agree with its config.json"),
    ],
)
def test_model_that_would_be_ruined_is_refused(
    server: ServerProcess, tmp_path: Path, make: Any, name: str, channel_map: str, wrong: str
) -> None:
    make(name).save_pretrained(tmp_path / "model")
    with Client(server.address) as client, pytest.raises(MismatchError, match=wrong):
        prune_folder(client, tmp_path / "model", tmp_path / "small", rules.remove_units(0.5, map=channel_map))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
