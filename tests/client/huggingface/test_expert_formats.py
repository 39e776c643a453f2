"""Experts removed from quantized files, from shards and from prediction layers, through a server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pruning_client import Client, Rule, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import prune_folder
from tests.client.huggingface.tiny_experts import EXPERTS, logits, logits_without, moe
from tests.servers import ServerProcess

Tensors = dict[str, torch.Tensor]

REMOVED = (1, 4)
KEPT = (0, 2, 3, 5)


def removed(server: ServerProcess, tensors: Mapping[str, torch.Tensor], folder: Path, *recipe: Rule) -> Tensors:
    """Return what is left of tensors in a file."""
    source, target = folder / "model.safetensors", folder / "small.safetensors"
    save_file(dict(tensors), source)
    with Client(server.address) as client:
        client.prune_file(source, target, list(recipe), output="removed")
    return load_file(target)


def router(block: str) -> Tensors:
    return {f"{block}.gate.weight": torch.randn(EXPERTS, 16)}


def numbered(block: str) -> Tensors:
    """Return FP8 experts with scales of blocks, and one for their inputs."""
    tensors = router(block)
    for at in range(EXPERTS):
        name = f"{block}.experts.{at}.up_proj"
        tensors[f"{name}.weight"] = torch.randn(32, 16).to(torch.float8_e4m3fn)
        tensors[f"{name}.weight_scale_inv"] = torch.rand(2, 1)
        tensors[f"{name}.input_scale"] = torch.rand(1)
    return tensors


def test_scales_of_fp8_experts_stay_with_them(server: ServerProcess, tmp_path: Path) -> None:
    before = numbered("l.0.mlp")
    after = removed(server, before, tmp_path, rules.drop_experts(REMOVED))
    for name, tensor in after.items():
        if ".experts." in name:
            _, _, _, _, number, rest = name.split(".", 5)
            original = before[f"l.0.mlp.experts.{KEPT[int(number)]}.{rest}"]
            assert torch.equal(tensor.view(torch.uint8), original.view(torch.uint8))
    assert len(after) == 1 + 3 * len(KEPT)


def test_codes_and_scales_of_mxfp4_experts_are_cut(server: ServerProcess, tmp_path: Path) -> None:
    block = "model.layers.0.mlp"
    codes = {
        f"{block}.experts.down_proj_blocks": torch.randint(0, 255, (EXPERTS, 8, 1, 16), dtype=torch.uint8),
        f"{block}.experts.down_proj_scales": torch.randint(0, 255, (EXPERTS, 8, 1), dtype=torch.uint8),
        f"{block}.experts.down_proj_bias": torch.randn(EXPERTS, 8),
        f"{block}.router.weight": torch.randn(EXPERTS, 16),
        f"{block}.router.bias": torch.randn(EXPERTS),
    }
    after = removed(server, codes, tmp_path, rules.drop_experts(REMOVED))
    assert {name: tensor.tolist() for name, tensor in after.items()} == {
        name: tensor[list(KEPT)].tolist() for name, tensor in codes.items()
    }


def test_prediction_layers_may_be_left_out(server: ServerProcess, tmp_path: Path) -> None:
    tensors = numbered("model.layers.0.mlp") | numbered("model.layers.1.mlp")
    tensors["model.layers.1.eh_proj.weight"] = torch.randn(16, 32)
    rule = rules.drop_experts(REMOVED, of="layers")
    after = removed(server, tensors, tmp_path, rule)
    assert after["model.layers.0.mlp.gate.weight"].shape[0] == len(KEPT)
    assert after["model.layers.1.mlp.gate.weight"].shape[0] == EXPERTS


def test_router_magnitude_is_that_of_compressed_tensors(server: ServerProcess, tmp_path: Path) -> None:
    block, weight = "model.layers.0.mlp", torch.randn(EXPERTS, 16)
    tensors = {f"{block}.router.weight": weight, f"{block}.experts.down_proj": torch.randn(EXPERTS, 8, 16)}
    after = removed(server, tensors, tmp_path, rules.keep_experts(4))
    best = weight.abs().sum(dim=1).topk(4).indices.sort().values
    assert torch.equal(after[f"{block}.router.weight"], weight[best])


def test_shards_of_a_model_are_pruned_together(server: ServerProcess, tmp_path: Path) -> None:
    model = moe("qwen3_moe")
    model.save_pretrained(tmp_path / "model", max_shard_size="10KB")
    with Client(server.address) as client:
        prune_folder(client, tmp_path / "model", tmp_path / "small", rules.drop_experts(REMOVED))
    index = json.loads((tmp_path / "small" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    small = transformers.Qwen3MoeForCausalLM.from_pretrained(tmp_path / "small")
    torch.testing.assert_close(logits(small), logits_without(model, REMOVED))


def test_fewer_experts_than_a_token_takes_write_nothing(server: ServerProcess, tmp_path: Path) -> None:
    moe("mixtral").save_pretrained(tmp_path / "model")
    with Client(server.address) as client, pytest.raises(MismatchError, match="keep at least 2"):
        prune_folder(client, tmp_path / "model", tmp_path / "small", rules.drop_experts("0-4"))
    assert not (tmp_path / "small").exists()


BLOCK = (8, 8)


def fp8_folder(family: str, folder: Path) -> Path:
    """Save a model as DeepSeek-V3 and Qwen3 ship theirs: FP8 projections with a scale for each block of a weight."""
    moe(family).save_pretrained(folder)
    tensors: Tensors = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        tensors[name] = weight
        if name.endswith("proj.weight") and all(size % 8 == 0 for size in weight.shape):
            counts = [size // block for size, block in zip(weight.shape, BLOCK, strict=True)]
            tensors[name] = (weight * 64).to(torch.float8_e4m3fn)
            tensors[f"{name}_scale_inv"] = torch.exp2(torch.randint(-8, -4, counts).float())
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": list(BLOCK),
        "modules_to_not_convert": sorted(
            name.removesuffix(".weight") for name in tensors if f"{name}_scale_inv" not in tensors
        ),
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def dequantized(folder: Path) -> Any:
    """Load an FP8 model on the CPU, whose kernels for FP8 transformers does not have: in fp32."""
    plain = transformers.FineGrainedFP8Config(dequantize=True)
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    model, found = load(folder, quantization_config=plain, dtype=torch.float32, output_loading_info=True)
    assert {kind: names for kind, names in found.items() if names} == {}
    return model.eval()


@pytest.mark.parametrize("family", ["qwen3_moe", "deepseek_v3"])
def test_fp8_folder_without_experts_computes_as_with_a_masked_router(
    server: ServerProcess, tmp_path: Path, family: str
) -> None:
    torch.manual_seed(0)
    folder = fp8_folder(family, tmp_path / "model")
    with Client(server.address) as client:
        prune_folder(client, folder, tmp_path / "small", rules.drop_experts(REMOVED))
    small = load_file(tmp_path / "small" / "model.safetensors")
    assert {each.dtype for name, each in small.items() if ".experts." in name} == {torch.float8_e4m3fn, torch.float32}
    full = logits_without(dequantized(folder), REMOVED)
    torch.testing.assert_close(logits(dequantized(tmp_path / "small")), full, rtol=1e-5, atol=1e-5)
