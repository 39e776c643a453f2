"""Folders of FP8 models as transformers writes them: pruned by value, still FP8, and loaded again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pruning_client import Client, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import prune_folder
from pruning_client.results.output_format import Output
from tests.engine.scaled import best_half, values
from tests.servers import ServerProcess

BLOCK = (16, 16)
GLOBAL = rules.l1_unstructured(0.5, scope="global")
MLP = rules.remove_units(0.5, map="llama_mlp", same_width=True)


def quantized(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return codes and a scale for each block; blocks are of unlike magnitudes."""
    counts = [-(-size // each) for size, each in zip(weight.shape, BLOCK, strict=True)]
    scale = torch.exp2(torch.randint(-8, 3, counts).float())
    return (weight * 64).to(torch.float8_e4m3fn), scale


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A LLaMA in two shards, with all scales in the second one."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=80, num_hidden_layers=1, num_attention_heads=4
    )
    folder = tmp_path / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    first, second = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        first[name] = weight
        if name.endswith("proj.weight"):
            first[name], second[f"{name}_scale_inv"] = quantized(weight)
    (folder / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for file, tensors in shards.items():
        save_file(tensors, folder / file, {"format": "pt"})
    places = {name: file for file, tensors in shards.items() for name in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    change_config(folder, quantization_config={"quant_method": "fp8", "weight_block_size": list(BLOCK)})
    return folder


def change_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def pruned(server: ServerProcess, model: Path, rule: Any, output: Output = "pruned") -> Path:
    with Client(server.address) as client:
        prune_folder(client, model, model.with_name("new"), rule, output=output)
    return model.with_name("new")


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """Load a model in high precision."""
    plain = transformers.FineGrainedFP8Config(dequantize=True)
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    found, told = load(folder, quantization_config=plain, dtype=torch.float32, output_loading_info=True)
    assert [kind for kind, names in told.items() if names] == []
    state: dict[str, torch.Tensor] = found.state_dict()
    return state


def test_loaded_weights_are_zero_where_values_are_least(server: ServerProcess, model: Path) -> None:
    before = tensors_of(model)
    names = [name for name in before if name.endswith("proj.weight")]
    real = {name: values(before[name], before[f"{name}_scale_inv"], BLOCK) for name in names}
    found = loaded(pruned(server, model, GLOBAL))
    for name, kept in best_half(real).items():
        assert torch.equal(found[name].double(), torch.where(kept, real[name], 0.0))


def test_shards_keep_their_tensors_and_scales(server: ServerProcess, model: Path) -> None:
    new = pruned(server, model, GLOBAL)
    for file in model.glob("*.safetensors"):
        before, after = load_file(file), load_file(new / file.name)
        assert {name: tensor.dtype for name, tensor in after.items()} == {
            name: tensor.dtype for name, tensor in before.items()
        }
        assert all(torch.equal(after[name], scale) for name, scale in before.items() if name.endswith("_scale_inv"))


def test_parts_of_blocks_are_not_removed(server: ServerProcess, model: Path) -> None:
    with pytest.raises(MismatchError, match="one scale for every 16 positions of dim"):
        pruned(server, model, MLP, "removed")
    assert not model.with_name("new").exists()


def test_whole_blocks_are_removed_with_their_scales(server: ServerProcess, model: Path) -> None:
    ties = [rules.tie(f"mlp.{name}_proj.weight", dim, inner=16) for name, dim in (("gate", 0), ("up", 0), ("down", 1))]
    group = rules.group(ties, for_each="model.layers.*", config={"intermediate_size": 16})
    new = pruned(server, model, rules.remove_units(0.4, groups=group), "removed")
    assert json.loads((new / "config.json").read_text())["intermediate_size"] == 48
    assert tensors_of(new)["model.layers.0.mlp.down_proj.weight_scale_inv"].shape == (2, 3)
    assert loaded(new)["model.layers.0.mlp.down_proj.weight"].shape == (32, 48)


@pytest.mark.parametrize("kind", ["llama", "unknown to transformers"])
def test_channels_are_removed_with_their_scales(server: ServerProcess, model: Path, kind: str) -> None:
    shard = model / "model-00002-of-00002.safetensors"
    rows = {name: weight.shape[0] for name, weight in tensors_of(model).items()}
    channels = {name: torch.ones(rows[name.removesuffix("_scale_inv")], 1) for name in load_file(shard)}
    save_file(channels, shard, {"format": "pt"})
    change_config(
        model, model_type=kind, quantization_config={"quant_method": "compressed-tensors", "format": "float-quantized"}
    )
    new = tensors_of(pruned(server, model, MLP, "removed"))
    assert new["model.layers.0.mlp.gate_proj.weight"].shape == (40, 32)
    assert new["model.layers.0.mlp.gate_proj.weight_scale_inv"].shape == (40, 1)
    assert new["model.layers.0.mlp.down_proj.weight_scale_inv"].shape == (32, 1)
