"""A block for multi-token prediction behind the layers, as DeepSeek-V3 has it: it moves down with the layers."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from pruning_client import rules
from pruning_client.huggingface.folder import prune_folder
from pruning_client.local.client import LocalClient

LAYERS = 3
SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 8,
    "intermediate_size": 12,
    "moe_intermediate_size": 4,
    "num_hidden_layers": LAYERS,
    "first_k_dense_replace": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 4,
    "kv_lora_rank": 4,
    "qk_rope_head_dim": 2,
    "qk_nope_head_dim": 2,
    "v_head_dim": 4,
    "num_nextn_predict_layers": 1,
    "pad_token_id": 0,
}


def saved(folder: Path) -> dict[str, torch.Tensor]:
    """Save a model with a block behind its layers: a copy of the last one, and what joins it to the others."""
    torch.manual_seed(0)
    transformers.DeepseekV3ForCausalLM(transformers.DeepseekV3Config(**SIZES)).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    last, behind = f"model.layers.{LAYERS - 1}.", f"model.layers.{LAYERS}."
    block = {name.replace(last, behind): tensor + 1 for name, tensor in tensors.items() if name.startswith(last)}
    block |= {f"{behind}eh_proj.weight": torch.randn(8, 16)}
    block |= {f"{behind}{norm}.weight": torch.ones(8) for norm in ("enorm", "hnorm", "shared_head.norm")}
    save_file(tensors | block, folder / "model.safetensors", {"format": "pt"})
    return block


def test_the_block_behind_moves_down_and_transformers_leaves_it_out(tmp_path: Path) -> None:
    block = saved(tmp_path / "full")
    prune_folder(LocalClient(), tmp_path / "full", tmp_path / "small", [rules.drop_layers([1])])
    result = load_file(tmp_path / "small" / "model.safetensors")
    moved = {name.replace(f"layers.{LAYERS}.", f"layers.{LAYERS - 1}."): tensor for name, tensor in block.items()}
    assert all(torch.equal(result[name], tensor) for name, tensor in moved.items())
    assert not any(name.startswith(f"model.layers.{LAYERS}.") for name in result)
    kind: Any = transformers.DeepseekV3ForCausalLM
    small, found = kind.from_pretrained(tmp_path / "small", output_loading_info=True)
    assert (small.config.num_hidden_layers, small.config.num_nextn_predict_layers) == (LAYERS - 1, 1)
    assert not found["missing_keys"]
    assert found["unexpected_keys"]
    assert all(name.startswith(f"model.layers.{LAYERS - 1}.") for name in found["unexpected_keys"])
