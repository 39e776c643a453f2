"""Layers of transformers' models compared with what they were, by the child process that builds the models."""

from typing import Any

import transformers

from pruning_client.huggingface.layers.removal import Removal
from pruning_client.huggingface.transformers_check import misfits

SIZES: dict[str, Any] = {
    "vocab_size": 8,
    "hidden_size": 4,
    "intermediate_size": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "sliding_window": 2,
    "use_sliding_window": True,
}
TYPES = ["sliding_attention", "full_attention", "full_attention"]


def described(layer_types: list[str]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return the config and the shapes of a model with these layers."""
    config = transformers.Qwen2Config(
        **SIZES, num_hidden_layers=len(layer_types), layer_types=layer_types, architectures=["Qwen2ForCausalLM"]
    )
    model = transformers.Qwen2ForCausalLM(config)
    return config.to_dict(), {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def test_layers_with_their_settings_fit() -> None:
    removal = Removal("model.layers", 3, (0, 2))
    assert misfits(described(TYPES), described(["sliding_attention", "full_attention"]), [removal]) == []


def test_a_layer_with_the_window_of_another_is_named() -> None:
    removal = Removal("model.layers", 3, (1, 2))
    found = misfits(described(TYPES), described(["sliding_attention", "full_attention"]), [removal])
    assert found is not None
    assert "layer 0 of 'model.layers', which was layer 1, has self_attn.sliding_window 2 and had None" in found


def test_lists_of_the_config_are_compared() -> None:
    removal = Removal("model.layers", 3, (1, 2))
    found = misfits(described(TYPES), described(["sliding_attention", "full_attention"]), [removal])
    assert found is not None
    assert any(text.startswith("layer_types of the config is") for text in found)
