"""Models as transformers builds them, without their weights."""

from collections.abc import Mapping
from typing import Any

import pytest
import transformers

from pruning_client.huggingface.transformers_check import Shapes, TransformersCheck

SIZES: dict[str, Any] = {
    "vocab_size": 8,
    "hidden_size": 4,
    "intermediate_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def config(**changed: Any) -> dict[str, Any]:
    described: dict[str, Any] = transformers.LlamaConfig(**SIZES, architectures=["LlamaForCausalLM"]).to_dict()
    return described | changed


def shapes(**changed: list[int]) -> dict[str, list[int]]:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()} | changed


def asked(after_config: Mapping[str, Any], after_shapes: Shapes) -> list[str] | None:
    with TransformersCheck(config()) as check:
        return check.misfits((config(), shapes()), (after_config, after_shapes))


def test_model_of_the_config_fits() -> None:
    assert asked(config(), shapes()) == []


def test_tensor_of_another_size_is_named() -> None:
    found = asked(config(intermediate_size=3), shapes())
    assert found is not None
    assert "tensor 'model.layers.0.mlp.up_proj.weight' has shape [6, 4], and the model's is [3, 4]" in found


def test_config_that_is_refused_is_a_misfit() -> None:
    found = asked(config(num_attention_heads=3, head_dim=2), shapes())
    assert found is not None
    assert "does not build the model" in found[0]


def test_misfits_of_the_source_are_not_reported() -> None:
    odd = shapes(extra=[3])
    with TransformersCheck(config()) as check:
        assert check.misfits((config(), odd), (config(), odd)) == []


@pytest.mark.parametrize(
    "changed",
    [{"model_type": "ours"}, {"architectures": ["OurModel"]}, {"architectures": ["AutoTokenizer"]}],
    ids=["model_type", "class", "not a model's class"],
)
def test_model_that_transformers_does_not_know(changed: dict[str, Any]) -> None:
    unknown = config(**changed)
    with TransformersCheck(unknown) as check:
        assert check.misfits((unknown, shapes()), (unknown, shapes())) is None


def test_child_process_has_a_time_limit() -> None:
    described = config(), shapes()
    with TransformersCheck(config(), timeout_seconds=0.01) as check:
        assert check.misfits(described, described) is None
