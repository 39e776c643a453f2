"""Tiny random models of many architectures, by their names in transformers."""

from collections.abc import Mapping
from typing import Any, Final

import torch
import transformers

_DECODER: Final[Mapping[str, Any]] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: Final = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_ROUTED: Final = {
    "n_routed_experts": 4,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_LATENT: Final = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 4,
    "num_key_value_heads": 4,
}
_VISION: Final = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
_ROPE: Final = {"rope_type": "default", "mrope_section": [1, 1, 0], "rope_theta": 10000.0}
_SEEN: Final = {"image_token_id": 48, "video_token_id": 49, "vision_start_token_id": 46, "vision_end_token_id": 47}
_NO_GROUPS: Final = {name: size for name, size in _DECODER.items() if name != "num_key_value_heads"}
_STACKS: Final = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 50,
}

DECODERS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "BitNet": ("BitNetConfig", {}),
    "Cohere": ("CohereConfig", {"use_qk_norm": True}),
    "DeepseekV2": ("DeepseekV2Config", {**_ROUTED, **_LATENT}),
    "DeepseekV3": ("DeepseekV3Config", {**_ROUTED, **_LATENT}),
    "Dots1": ("Dots1Config", _ROUTED),
    "Ernie4_5_Moe": (
        "Ernie4_5_MoeConfig",
        {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 8, "moe_num_shared_experts": 2},
    ),
    "Gemma2": ("Gemma2Config", {"head_dim": 4}),
    "Gemma3": ("Gemma3TextConfig", {"head_dim": 8}),
    "Gemma3n": (
        "Gemma3nTextConfig",
        {
            "head_dim": 4,
            "vocab_size_per_layer_input": 50,
            "hidden_size_per_layer_input": 4,
            "num_kv_shared_layers": 0,
            "laurel_rank": 4,
            "intermediate_size": [32, 32],
            "activation_sparsity_pattern": [0.0, 0.0],
        },
    ),
    "Gemma4": (
        "Gemma4TextConfig",
        {
            "head_dim": 8,
            "global_head_dim": 16,
            "vocab_size_per_layer_input": 50,
            "hidden_size_per_layer_input": 4,
            "num_kv_shared_layers": 0,
        },
    ),
    "Glm4": ("Glm4Config", {"head_dim": 4}),
    "GptOss": ("GptOssConfig", {"head_dim": 4, "num_local_experts": 4}),
    "HunYuanMoEV1": ("HunYuanMoEV1Config", {"num_experts": 4, "moe_topk": 2, "head_dim": 4}),
    "Llama": ("LlamaConfig", {"mlp_bias": True, "attention_bias": True, "head_dim": 8}),
    "Llama4": (
        "Llama4TextConfig",
        {"head_dim": 4, "intermediate_size_mlp": 32, "num_local_experts": 4, "moe_layers": [1]},
    ),
    "MiniMaxM2": ("MiniMaxM2Config", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 4}),
    "Mixtral": ("MixtralConfig", {"num_local_experts": 4}),
    "Nemotron": ("NemotronConfig", {}),
    "Olmo2": ("Olmo2Config", {}),
    "Olmoe": ("OlmoeConfig", {"num_experts": 4, "num_experts_per_tok": 2}),
    "Phi": ("PhiConfig", {}),
    "Phi3": ("Phi3Config", {}),
    "Qwen2": ("Qwen2Config", {}),
    "Qwen2Moe": ("Qwen2MoeConfig", {**_EXPERTS, "shared_expert_intermediate_size": 16, "mlp_only_layers": [0]}),
    "Qwen3": ("Qwen3Config", {"head_dim": 4}),
    "Qwen3Moe": ("Qwen3MoeConfig", {**_EXPERTS, "head_dim": 4, "mlp_only_layers": [0]}),
    "Qwen3Next": (
        "Qwen3NextConfig",
        {
            **_EXPERTS,
            "head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 4,
            "linear_value_head_dim": 4,
            "layer_types": ["full_attention", "full_attention"],
            "shared_expert_intermediate_size": 16,
        },
    ),
    "StableLm": ("StableLmConfig", {"qk_layernorm": True}),
}
"""Decoders: each the config's class and its fields beyond those of all."""


def decoder(name: str) -> Any:
    """Return a tiny decoder of this name."""
    config_class, fields = DECODERS[name]
    return filled(f"{name}ForCausalLM", config_class, **{**_DECODER, **fields})


def other(name: str) -> Any:
    """Return a tiny model of this class of transformers."""
    config_class, fields = OTHERS[name]
    return filled(name, config_class, **fields)


OTHERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "BertForMaskedLM": ("BertConfig", _NO_GROUPS),
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 16, "n_layer": 1, "n_head": 4, "vocab_size": 50}),
    "OPTForCausalLM": (
        "OPTConfig",
        {
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "vocab_size": 50,
        },
    ),
    "RobertaForMaskedLM": ("RobertaConfig", _NO_GROUPS),
    "ViTForImageClassification": ("ViTConfig", _VISION),
    "Dinov2Model": ("Dinov2Config", {**_VISION, "mlp_ratio": 2}),
    "BartForConditionalGeneration": ("BartConfig", _STACKS),
    "CLIPModel": ("CLIPConfig", {"text_config": _NO_GROUPS, "vision_config": _VISION, "projection_dim": 8}),
    "LlavaForConditionalGeneration": (
        "LlavaConfig",
        {
            "text_config": {**_DECODER, "model_type": "llama"},
            "vision_config": {**_VISION, "model_type": "clip_vision_model"},
            "image_token_index": 49,
        },
    ),
    "Gemma3ForConditionalGeneration": (
        "Gemma3Config",
        {
            "text_config": {**_DECODER, "head_dim": 8},
            "vision_config": {**_VISION, "model_type": "siglip_vision_model"},
            "mm_tokens_per_image": 4,
            "image_token_index": 49,
        },
    ),
    "Qwen2VLForConditionalGeneration": (
        "Qwen2VLConfig",
        {
            "text_config": {**_DECODER, "rope_parameters": _ROPE},
            "vision_config": {
                "depth": 1,
                "embed_dim": 16,
                "hidden_size": 16,
                "num_heads": 4,
                "mlp_ratio": 2,
                "patch_size": 8,
            },
            **_SEEN,
        },
    ),
    "Qwen2_5_VLForConditionalGeneration": (
        "Qwen2_5_VLConfig",
        {
            "text_config": {**_DECODER, "rope_parameters": _ROPE},
            "vision_config": {
                "depth": 1,
                "hidden_size": 16,
                "out_hidden_size": 16,
                "num_heads": 4,
                "intermediate_size": 32,
                "patch_size": 8,
                "fullatt_block_indexes": [0],
            },
            **_SEEN,
        },
    ),
    "T5GemmaForConditionalGeneration": (
        "T5GemmaConfig",
        {"encoder": {**_DECODER, "head_dim": 4}, "decoder": {**_DECODER, "head_dim": 4}, "vocab_size": 50},
    ),
}
"""Models of other kinds: each the config's class and its fields."""


def filled(model_class: str, config_class: str, **fields: Any) -> Any:
    """Return a model of random weights, also where transformers begins with zeros or ones."""
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def outputs(model: Any) -> torch.Tensor:
    """Return what a model computes for nine tokens, an image, or both."""
    torch.manual_seed(1)
    tokens, image = torch.arange(3, 12)[None], torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        if hasattr(model, "vision_model") and hasattr(model, "text_model"):
            return model(input_ids=tokens, pixel_values=image).logits_per_image  # type: ignore[no-any-return]
        if model.main_input_name == "pixel_values":
            return next(iter(model(pixel_values=image).values()))  # type: ignore[no-any-return]
        extra = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
        return model(input_ids=tokens, **extra).logits  # type: ignore[no-any-return]
