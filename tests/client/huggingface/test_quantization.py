"""A folder whose config.json says that its model is quantized is refused before anything is sent."""

from typing import Any

import pytest

from pruning_client import Rule, rules
from pruning_client.calls.request import recipe_of
from pruning_client.errors import MismatchError
from pruning_client.huggingface.quantization import check_blocks, check_not_quantized
from pruning_proto.reasons import Reason

HALF = recipe_of(rules.l1_unstructured(0.5), None).to_message()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({"quant_method": "gptq", "bits": 4}, "gptq", id="GPTQ"),
        pytest.param({"quant_method": "awq"}, "awq", id="AWQ"),
        pytest.param({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", id="bitsandbytes"),
        pytest.param({"load_in_8bit": True}, "bitsandbytes", id="bitsandbytes of old"),
        pytest.param({"quant_method": "mxfp4"}, "mxfp4", id="MXFP4"),
        pytest.param(
            {"quant_method": "compressed-tensors", "format": "pack-quantized"},
            "pack-quantized",
            id="compressed-tensors",
        ),
        pytest.param({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4", id="NVFP4"),
    ],
)
def test_quantized_model_is_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(MismatchError, match=f"is quantized .*{name}") as caught:
        check_not_quantized({"quantization_config": fields}, HALF)
    assert caught.value.reason == Reason.UNPRUNABLE_DTYPE


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, id="not quantized"),
        pytest.param({"quantization_config": {"quant_method": "fp8"}}, id="FP8"),
        pytest.param(
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}},
            id="FP8 of compressed-tensors",
        ),
        pytest.param({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, id="FP8 of modelopt"),
    ],
)
def test_other_model_is_accepted(config: dict[str, Any]) -> None:
    check_not_quantized(config, HALF)


def test_tensor_named_in_full_is_accepted() -> None:
    named = recipe_of(rules.l1_unstructured(0.5, include=["lm_head.weight"]), None).to_message()
    check_not_quantized({"quantization_config": {"quant_method": "gptq"}}, named)


def test_blocks_of_powers_of_two_are_accepted() -> None:
    check_blocks({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 64]}})
    check_blocks({"quantization_config": {"quant_method": "fp8", "weight_block_size": None}})


def test_other_blocks_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"weight_block_size = \[48, 48\].*powers of two"):
        check_blocks({"quantization_config": {"quant_method": "fp8", "weight_block_size": [48, 48]}})


QUANTIZED = {"quantization_config": {"quant_method": "mxfp4"}}


@pytest.mark.parametrize("rule", [rules.drop_experts([1]), rules.keep_experts(4)], ids=["listed", "by the router"])
def test_quantized_model_may_lose_whole_experts(rule: Rule) -> None:
    check_not_quantized(QUANTIZED, recipe_of(rule, None).to_message())


def test_norm_of_quantized_experts_is_refused() -> None:
    with pytest.raises(MismatchError, match="is quantized"):
        check_not_quantized(QUANTIZED, recipe_of(rules.keep_experts(4, score="magnitude"), None).to_message())
