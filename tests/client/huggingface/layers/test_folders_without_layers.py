"""Layers removed from folders of real models: loaded again, and compared with the full model that skips them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from pruning_client import rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import prune_folder
from pruning_client.local.client import LocalClient
from pruning_client.torch.collection.block_influence import stacks_of
from pruning_client.torch.collection.disk_names import DiskNames

models: Any = transformers
"""Configs and models, with keywords that their types do not name."""

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 12}
LLAMA4: dict[str, Any] = {
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "head_dim": 8,
    "intermediate_size_mlp": 24,
    "interleave_moe_layer_step": 2,
    "no_rope_layer_interval": 2,
    "attention_chunk_size": 8,
}
PERIODS = {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
WINDOWS = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}


def model_of(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2 + (parameter.dim() == 1))
    return model


def qwen2() -> Any:
    return model_of(models.Qwen2ForCausalLM, models.Qwen2Config(**SIZES, **WINDOWS))


def gpt2() -> Any:
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 4, "n_head": 2, "vocab_size": 64, "n_positions": 16}
    return model_of(models.GPT2LMHeadModel, models.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))


def qwen3_moe() -> Any:
    config = models.Qwen3MoeConfig(**SIZES, **EXPERTS, num_experts=4, head_dim=8, decoder_sparse_step=2)
    return model_of(models.Qwen3MoeForCausalLM, config)


def llama4() -> Any:
    return model_of(models.Llama4ForCausalLM, models.Llama4TextConfig(**SIZES, **LLAMA4))


def jamba() -> Any:
    sizes: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "mamba_d_state": 4, "mamba_dt_rank": 4}
    config = models.JambaConfig(**SIZES, **sizes, **PERIODS, use_mamba_kernels=False)
    return model_of(models.JambaForCausalLM, config)


def t5() -> Any:
    sizes: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 4, "num_decoder_layers": 4}
    config = models.T5Config(**sizes, num_heads=2, vocab_size=64, decoder_start_token_id=0)
    return model_of(models.T5ForConditionalGeneration, config)


def outputs(model: Any) -> torch.Tensor:
    tokens = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": tokens} | ({"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {})
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(**inputs, use_cache=False).logits
    return logits


def skip(_: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
    """Return what a layer got, as it returns it."""
    hidden = args[0] if args else kwargs["hidden_states"]
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("make", "stack", "dropped"),
    [
        (qwen2, "model.layers", [1]),
        (gpt2, "transformer.h", [0, 2]),
        (qwen3_moe, "model.layers", [1]),
        (llama4, "model.layers", [1]),
        (jamba, "model.layers", [2, 3]),
        (t5, "decoder.block", [2]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_smaller_model_computes_what_the_full_one_skips(
    make: Any, stack: str, dropped: list[int], tmp_path: Path
) -> None:
    make().save_pretrained(tmp_path / "full")
    prune_folder(LocalClient(), tmp_path / "full", tmp_path / "small", [rules.drop_layers({stack: dropped})])
    kind = type(make())
    small, found = kind.from_pretrained(tmp_path / "small", output_loading_info=True)
    assert not any(found.values())
    full = kind.from_pretrained(tmp_path / "full")
    for layer in dropped:
        stacks_of(full, DiskNames(full))[stack][layer].register_forward_hook(skip, with_kwargs=True)
    assert torch.equal(outputs(small), outputs(full))


@pytest.mark.timeout(600)
def test_layers_that_no_longer_follow_their_pattern_are_refused(tmp_path: Path) -> None:
    jamba().save_pretrained(tmp_path / "full")
    read: list[object] = []
    with pytest.raises(MismatchError, match="remove 2 consecutive layers at a time"):
        prune_folder(
            LocalClient(), tmp_path / "full", tmp_path / "small", [rules.drop_layers([1])], progress=read.append
        )
    assert not read
    assert not (tmp_path / "small").exists()


def test_layers_of_the_least_scores_are_removed(tmp_path: Path) -> None:
    qwen2().save_pretrained(tmp_path / "full")
    rule = rules.keep_layers(2, score={"model.layers": [0.9, 0.1, 0.5, 0.2]})
    target = tmp_path / "small.safetensors"
    report = LocalClient().prune_file(tmp_path / "full" / "model.safetensors", target, [rule], output="removed")
    assert report.groups[0].kept == (0, 2)
