"""Models of images and text whose text model has experts: without some of them and a layer, loaded again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import torch
import transformers

from pruning_client import rules
from pruning_client.huggingface.config_json import read_config
from pruning_client.huggingface.folder import prune_folder
from pruning_client.local.client import LocalClient
from tests.client.huggingface.tiny_experts import EXPERTS, logits, logits_without

REMOVED, DROPPED = (1, 4), 1
LAYERS: Final = 4

models: Any = transformers
"""Configs and models, with keywords that their types do not name."""

TEXT: Final[Mapping[str, Any]] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: Final[Mapping[str, Any]] = {"hidden_size": 16, "intermediate_size": 24, "patch_size": 4}
BLOCKS: Final = {**VISION, "depth": 3, "num_heads": 2, "spatial_merge_size": 1, "out_hidden_size": 16}
ROPE: Final = {"rope_type": "default", "mrope_section": [1, 1, 0], "rope_theta": 1e4}
QWEN: Final = {"num_experts": EXPERTS, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "rope_parameters": ROPE}
IDS: Final = {"image_token_id": 40, "video_token_id": 41, "vision_start_token_id": 42, "vision_end_token_id": 43}


def qwen3_vl() -> Any:
    vision = {**BLOCKS, "num_position_embeddings": 16, "deepstack_visual_indexes": [1]}
    config = models.Qwen3VLMoeConfig(text_config={**TEXT, **QWEN}, vision_config=vision, **IDS)
    return models.Qwen3VLMoeForConditionalGeneration(config)


def qwen3_5() -> Any:
    linear = {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "shared_expert_intermediate_size": 12,
    }
    rope = {"rope_parameters": {**ROPE, "partial_rotary_factor": 1.0}}
    vision = {**BLOCKS, "num_position_embeddings": 16}
    config = models.Qwen3_5MoeConfig(text_config={**TEXT, **QWEN, **linear, **rope}, vision_config=vision, **IDS)
    return models.Qwen3_5MoeForConditionalGeneration(config)


def llama4() -> Any:
    text = {"num_local_experts": EXPERTS, "num_experts_per_tok": 1, "intermediate_size_mlp": 24}
    periods = {"interleave_moe_layer_step": 1, "attention_chunk_size": 8}
    projector = {"projector_input_dim": 16, "projector_output_dim": 16, "vision_output_dim": 16}
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 8, "pixel_shuffle_ratio": 0.5}
    config = models.Llama4Config(
        text_config={**TEXT, **text, **periods},
        vision_config={**VISION, **projector, **sizes},
        image_token_index=40,
        boi_token_index=41,
        eoi_token_index=42,
    )
    return models.Llama4ForConditionalGeneration(config)


def glm4v() -> Any:
    text = {
        "n_routed_experts": EXPERTS,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "moe_intermediate_size": 8,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "rope_parameters": {**ROPE, "partial_rotary_factor": 1.0},
    }
    ids = {"image_token_id": 40, "image_start_token_id": 42, "image_end_token_id": 43}
    vision = {**BLOCKS, "image_size": 8, "temporal_patch_size": 1}
    return models.Glm4vMoeForConditionalGeneration(
        models.Glm4vMoeConfig(text_config={**TEXT, **text}, vision_config=vision, **ids)
    )


MODELS: Final[Mapping[str, tuple[Callable[[], Any], str]]] = {
    "Qwen3-VL": (qwen3_vl, "model.language_model.layers"),
    "Qwen3.5": (qwen3_5, "model.language_model.layers"),
    "Llama 4": (llama4, "language_model.model.layers"),
    "GLM-4.5V": (glm4v, "model.language_model.layers"),
}
"""By name: how the model is made, and the stack of its text layers as files name it."""


def skip(_: object, args: Any, kwargs: Any, output: Any) -> Any:
    """Return what a layer got, as it returns it."""
    hidden = args[0] if args else kwargs["hidden_states"]
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def saved(make: Callable[[], Any], folder: Path) -> Any:
    """Save a model of random weights, and return it."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MODELS)
def test_smaller_text_model_computes_what_the_full_one_skips(tmp_path: Path, name: str) -> None:
    make, stack = MODELS[name]
    full = saved(make, tmp_path / "full")
    chosen = [rules.drop_layers({stack: [DROPPED]}), rules.drop_experts(REMOVED)]

    prune_folder(LocalClient(), tmp_path / "full", tmp_path / "small", chosen)

    small, found = type(full).from_pretrained(tmp_path / "small", output_loading_info=True)
    assert {kind: names for kind, names in found.items() if names} == {}
    config = read_config(tmp_path / "small" / "config.json")["text_config"]
    assert config["num_hidden_layers"] == LAYERS - 1
    full.get_submodule(stack)[DROPPED].register_forward_hook(skip, with_kwargs=True)
    torch.testing.assert_close(logits(small.eval()), logits_without(full, REMOVED), rtol=1e-5, atol=1e-5)


@pytest.mark.timeout(600)
def test_layers_without_a_stack_are_refused(tmp_path: Path) -> None:
    saved(qwen3_vl, tmp_path / "full")
    with pytest.raises(Exception, match=r"2 stacks of layers.*or as model\.language_model\.layers=LIST"):
        prune_folder(LocalClient(), tmp_path / "full", tmp_path / "small", rules.drop_layers("1"))
