"""Layers of transformers' models compared with what they were; once by the child process that builds the models."""

from typing import Any

import transformers

from pruning_client.huggingface.layers.comparison import changed_layers
from pruning_client.huggingface.layers.removal import Removal
from pruning_client.huggingface.transformers_check import TransformersCheck

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
WRONG_LAYER = (
    "layer 0 of 'model.layers', which was layer 1, has self_attn.layer_type 'sliding_attention' and had "
    "'full_attention'"
)


def model(layer_types: list[str], **sizes: int) -> Any:
    """Return a model with these layers, and other sizes."""
    config = transformers.Qwen2Config(
        **(SIZES | sizes),
        num_hidden_layers=len(layer_types),
        layer_types=layer_types,
        architectures=["Qwen2ForCausalLM"],
    )
    return transformers.Qwen2ForCausalLM(config)


def changes(kept: list[int], after: Any = None) -> list[str]:
    """Return what differs in a model of a layer with a window and one without, if these were the layers kept."""
    found = changed_layers(model(TYPES), after or model(TYPES[:2]), [{"units": 3, "kept": kept}])
    return list(found)


def test_layers_with_their_settings_fit() -> None:
    assert changes([0, 2]) == []


def test_a_layer_with_the_window_of_another_is_named() -> None:
    assert WRONG_LAYER in changes([1, 2])


def test_lists_of_the_config_are_compared() -> None:
    assert any(text.startswith("layer_types of the config is") for text in changes([1, 2]))


def test_layers_with_fewer_channels_fit() -> None:
    assert changes([0, 2], model(TYPES[:2], intermediate_size=3)) == []


def test_a_size_that_the_config_does_not_have_is_compared() -> None:
    after = model(TYPES[:2], intermediate_size=3)
    after.model.layers[1].mlp.up_proj.out_features = 2
    (found,) = changes([0, 2], after)
    assert found == "layer 1 of 'model.layers', which was layer 2, has mlp.up_proj.out_features 2 and had 6"


def test_a_setting_that_no_config_has_is_compared() -> None:
    after = model(TYPES[:2])
    after.model.layers[1].mlp.scale = 2
    (found,) = changes([0, 2], after)
    assert found == "layer 1 of 'model.layers', which was layer 2, has mlp.scale 2 and had 'missing'"


def described(layer_types: list[str]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return the config and the shapes of a model with these layers."""
    whole = model(layer_types)
    return whole.config.to_dict(), {name: list(tensor.shape) for name, tensor in whole.state_dict().items()}


def test_the_child_process_compares_layers() -> None:
    before = described(TYPES)
    with TransformersCheck(before[0]) as check:
        found = check.misfits(before, described(TYPES[:2]), [Removal("model.layers", 3, (1, 2))])
    assert found is not None
    assert WRONG_LAYER in found


def test_numbers_of_all_layers_are_renumbered() -> None:
    before, after = model(TYPES), model(TYPES[:2])
    before.config.moe_layers, after.config.moe_layers = [0, 1, 2], [0, 1]
    assert list(changed_layers(before, after, [{"units": 3, "kept": [0, 2]}])) == []
    after.config.moe_layers = [0, 2]
    (found,) = changed_layers(before, after, [{"units": 3, "kept": [0, 2]}])
    assert found == "moe_layers of the config is [0, 2], and should be [0, 1]"
