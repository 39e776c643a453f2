"""Small models of transformers with random weights, and batches for them."""

from typing import Any

import torch
import transformers
from torch import Tensor, nn

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 32,
}
EXPERTS: dict[str, Any] = {**SIZES, "num_local_experts": 3, "num_experts_per_tok": 2}


def llama() -> nn.Module:
    return seeded(transformers.LlamaForCausalLM, transformers.LlamaConfig(**SIZES))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        n_embd=16, n_head=2, n_layer=2, vocab_size=32, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    return seeded(transformers.GPT2LMHeadModel, config)


def bert() -> nn.Module:
    return seeded(transformers.BertModel, transformers.BertConfig(**SIZES))


def mixtral() -> nn.Module:
    return seeded(transformers.MixtralForCausalLM, transformers.MixtralConfig(**EXPERTS))


def qwen3_moe() -> nn.Module:
    sizes: dict[str, Any] = {**SIZES, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    config = transformers.Qwen3MoeConfig(**sizes)
    return seeded(transformers.Qwen3MoeForCausalLM, config)


def granite() -> nn.Module:
    return seeded(transformers.GraniteMoeForCausalLM, transformers.GraniteMoeConfig(**EXPERTS))


def gpt_oss() -> nn.Module:
    return seeded(transformers.GptOssForCausalLM, transformers.GptOssConfig(**EXPERTS, head_dim=8))


def llama4() -> nn.Module:
    config = transformers.Llama4TextConfig(**EXPERTS, head_dim=8, intermediate_size_mlp=24)
    return seeded(transformers.Llama4ForCausalLM, config)


def seeded(kind: Any, config: Any) -> nn.Module:
    """Return a model with random weights, biases and router too, whose first layers differ from their last."""
    config.pad_token_id = 0
    model: nn.Module = kind(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def tokens(sequences: int = 2, length: int = 7, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"input_ids": torch.randint(1, 32, (sequences, length), generator=generator)}


def padded(lengths: tuple[int, ...] = (7, 4)) -> dict[str, Tensor]:
    """Return a batch with padding on the right."""
    batch = tokens(len(lengths), max(lengths))
    mask = torch.tensor([[1] * length + [0] * (max(lengths) - length) for length in lengths])
    return batch | {"attention_mask": mask}
