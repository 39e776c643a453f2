"""Tiny random mixtures of experts, by their model types in transformers, and what they compute without some experts."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
import transformers
from torch.overrides import TorchFunctionMode

EXPERTS: Final = 6

_SIZES: Final[Mapping[str, Any]] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LATENT: Final = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 4,
    "num_key_value_heads": 4,
}
_LINEAR: Final = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
_INDEXED: Final = {"index_n_heads": 2, "index_head_dim": 8, "index_topk": 4}
_MAMBA: Final = {"mamba_d_state": 4, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_expand": 2}
_LOCAL: Final = {"num_local_experts": EXPERTS, "num_experts_per_tok": 2}
_NUMBERED: Final = {"num_experts": EXPERTS, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_ONE_SHARED: Final = {**_NUMBERED, "num_shared_experts": 1}
_ROUTED: Final = {
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_GROUPED: Final = {**_ROUTED, "n_group": 2, "topk_group": 1}
_PER_TOKEN: Final = {
    "num_experts": EXPERTS,
    "num_experts_per_token": 2,
    "moe_intermediate_size": 8,
    "num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "num_expert_group": 1,
    "topk_group": 1,
}

FAMILIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "afmoe": {**_ONE_SHARED, "num_dense_layers": 1},
    "aria_text": {"moe_num_experts": EXPERTS, "moe_topk": 2, "moe_num_shared_experts": 1},
    "axk1": {**_ROUTED, **_LATENT},
    "bailing_hybrid": {**_PER_TOKEN, **_LATENT, "first_k_dense_replace": 0},
    "cohere2_moe": _ONE_SHARED,
    "dbrx": {
        "d_model": 16,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 64,
        "ffn_config": {"ffn_hidden_size": 8, "moe_num_experts": EXPERTS, "moe_top_k": 2, "hidden_size": 16},
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
    },
    "deepseek_v2": {**_ROUTED, **_LATENT},
    "deepseek_v2 in groups": {**_GROUPED, **_LATENT, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**_ROUTED, **_LATENT},
    "deepseek_v3 in groups": {**_GROUPED, **_LATENT},
    "deepseek_v32": {**_ROUTED, **_LATENT, **_INDEXED},
    "dots1": _ROUTED,
    "ernie4_5_moe": {
        "moe_num_experts": EXPERTS,
        "moe_k": 2,
        "moe_intermediate_size": 8,
        "moe_num_shared_experts": 1,
        "moe_layer_start_index": 1,
    },
    "exaone_moe": {**_ONE_SHARED, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    "flex_olmo": _NUMBERED,
    "flint": {**_NUMBERED, "mlp_only_layers": [0]},
    "gemma4_text": {
        "num_experts": EXPERTS,
        "top_k_experts": 2,
        "moe_intermediate_size": 8,
        "enable_moe_block": True,
        "vocab_size_per_layer_input": 50,
        "hidden_size_per_layer_input": 4,
        "num_kv_shared_layers": 0,
        "global_head_dim": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "glm4_moe": _ROUTED,
    "glm4_moe_lite": {**_ROUTED, **_LATENT},
    "gpt_oss": _LOCAL,
    "granitemoe": _LOCAL,
    "granitemoe_swa": {**_LOCAL, "shared_intermediate_size": 12},
    "granitemoehybrid": {
        **_LOCAL,
        **_MAMBA,
        "shared_intermediate_size": 12,
        "layer_types": ["mamba", "attention"],
    },
    "granitemoeshared": {**_LOCAL, "shared_intermediate_size": 12},
    "hunyuan_v1_moe": {"num_experts": EXPERTS, "moe_topk": 2},
    "hy_v3": _ONE_SHARED,
    "hy_v4": {**_ROUTED, **_LATENT, **_INDEXED},
    "inkling_text": {**_ROUTED, "n_shared_experts": 2, "mlp_layer_types": ["dense", "sparse"]},
    "inkling2_text": {**_ROUTED},
    "jamba": {
        "num_experts": EXPERTS,
        "num_experts_per_tok": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
    },
    "jetmoe": {**_LOCAL, "kv_channels": 4},
    "kimi_linear": {**_PER_TOKEN, **_LATENT},
    "kolibri1": _NUMBERED,
    "laguna": _ONE_SHARED,
    "lfm2_moe": {
        **_NUMBERED,
        "num_dense_layers": 1,
        "layer_types": ["conv", "full_attention"],
        "use_expert_bias": True,
    },
    "llama4_text": {**_LOCAL, "intermediate_size_mlp": 32, "moe_layers": [1]},
    "longcat_flash": {
        **_LATENT,
        "n_routed_experts": EXPERTS,
        "zero_expert_num": 2,
        "moe_topk": 2,
        "expert_ffn_hidden_size": 8,
        "ffn_hidden_size": 24,
        "num_layers": 2,
    },
    "mellum": _NUMBERED,
    "mimo_v2_flash": _ROUTED,
    "minimax": _LOCAL,
    "minimax_m2": _LOCAL,
    "mixtral": _LOCAL,
    "nemotron_h": {
        **_ROUTED,
        "layers_block_type": ["moe", "full_attention"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
    },
    "olmoe": _NUMBERED,
    "phimoe": _LOCAL,
    "qwen2_moe": {**_NUMBERED, "shared_expert_intermediate_size": 12, "mlp_only_layers": [0]},
    "qwen3_5_moe_text": {**_NUMBERED, **_LINEAR, "shared_expert_intermediate_size": 12},
    "qwen3_moe": {**_NUMBERED, "mlp_only_layers": [0]},
    "qwen3_next": {**_NUMBERED, **_LINEAR, "shared_expert_intermediate_size": 12},
    "qwen3_vl_moe_text": _NUMBERED,
    "solar_open": _ROUTED,
    "zaya": {"num_experts": EXPERTS, "num_experts_per_tok": 1, "router_hidden_size": 12},
}
"""Fields of the config beyond those of all, by model type, and what comes after a space."""

_ROUTER: Final = re.compile(r"gate|router|wg|classifier")
_OTHER: Final = re.compile(r"shared|norm|self_attn")
_ROUTER_ROWS: Final = (EXPERTS, EXPERTS + 1, EXPERTS + 2)
"""LongCat and Zaya have rows for experts without weights after the others."""
_CORRECTION: Final = re.compile(r"correction_bias|expert_bias|balancing_biases")


def config_of(family: str) -> Any:
    """Return the config of a tiny model."""
    model_type = family.partition(" ")[0]
    sizes = {"vocab_size": 50} if model_type == "dbrx" else _SIZES
    return transformers.AutoConfig.for_model(model_type, **{**sizes, **FAMILIES[family]})


def moe(family: str) -> Any:
    """Return a tiny model of random weights, and random corrections of its routers."""
    config = config_of(family)
    torch.manual_seed(0)
    model = model_class(config)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.named_buffers():
            if _CORRECTION.search(name):
                buffer.copy_(torch.rand_like(buffer))
    return model


def logits(model: Any) -> torch.Tensor:
    """Return what a model computes for nine tokens."""
    with torch.no_grad():
        found = model(input_ids=torch.arange(3, 12)[None], use_cache=False)
    return found.logits if "logits" in found else found.last_hidden_state  # type: ignore[no-any-return]


def logits_without(model: Any, removed: Sequence[int]) -> torch.Tensor:
    """Return what a model computes if its routers cannot choose these experts: logits and corrections are -inf.

    So the weights of the others are as the family's router makes them, by softmax, sigmoid or groups.
    """
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if _CORRECTION.search(name):
                tensor.view(-1)[list(removed)] = float("-inf")
    with _Masked(_router_weights(model), removed) as masked:
        found = logits(model)
    assert masked.calls
    return found


def _router_weights(model: Any) -> list[torch.Tensor]:
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2
        and parameter.shape[0] in _ROUTER_ROWS
        and _ROUTER.search(name)
        and not _OTHER.search(name)
    ]


def model_class(config: Any) -> Any:
    """Return the class of a causal model; of a family that has none, that of its hidden states."""
    mapping = transformers.AutoModelForCausalLM._model_mapping
    return mapping[type(config)] if type(config) in mapping else transformers.AutoModel._model_mapping[type(config)]


class _Masked(TorchFunctionMode):
    """Sets the logits of removed experts to -inf wherever a router's weight is multiplied."""

    def __init__(self, weights: Sequence[torch.Tensor], removed: Sequence[int]) -> None:
        self.weights = weights
        self.removed = list(removed)
        self.calls = 0

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if function is torch.nn.functional.linear and any(args[1] is weight for weight in self.weights):
            self.calls += 1
            found = found.clone()
            found[..., self.removed] = float("-inf")
        return found
