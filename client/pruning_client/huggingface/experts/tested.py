"""Architectures that load without some of their experts: of these, names and shapes show whether a result is a model.

A test prunes a model of each, loads it, and compares what it computes with what the whole model computes
(`tests/client/huggingface/test_expert_families.py`). Of others, transformers is asked.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pruning_proto.v1 import pruning_pb2 as pb

_MAP: Final = "experts"

TESTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "afmoe": "AfmoeForCausalLM",
        "aria_text": "AriaTextForCausalLM",
        "axk1": "AXK1ForCausalLM",
        "bailing_hybrid": "BailingHybridForCausalLM",
        "cohere2_moe": "Cohere2MoeForCausalLM",
        "dbrx": "DbrxForCausalLM",
        "deepseek_v2": "DeepseekV2ForCausalLM",
        "deepseek_v3": "DeepseekV3ForCausalLM",
        "deepseek_v32": "DeepseekV32ForCausalLM",
        "dots1": "Dots1ForCausalLM",
        "ernie4_5_moe": "Ernie4_5_MoeForCausalLM",
        "exaone_moe": "ExaoneMoeForCausalLM",
        "flex_olmo": "FlexOlmoForCausalLM",
        "flint": "FlintForCausalLM",
        "gemma4_text": "Gemma4ForCausalLM",
        "glm4_moe": "Glm4MoeForCausalLM",
        "glm4_moe_lite": "Glm4MoeLiteForCausalLM",
        "gpt_oss": "GptOssForCausalLM",
        "granitemoe": "GraniteMoeForCausalLM",
        "granitemoe_swa": "GraniteMoeSWAForCausalLM",
        "granitemoehybrid": "GraniteMoeHybridForCausalLM",
        "granitemoeshared": "GraniteMoeSharedForCausalLM",
        "hunyuan_v1_moe": "HunYuanMoEV1ForCausalLM",
        "hy_v3": "HYV3ForCausalLM",
        "hy_v4": "HYV4ForCausalLM",
        "inkling_text": "InklingForCausalLM",
        "inkling2_text": "Inkling2ForCausalLM",
        "jamba": "JambaForCausalLM",
        "jetmoe": "JetMoeForCausalLM",
        "kimi_linear": "KimiLinearForCausalLM",
        "kolibri1": "Kolibri1ForCausalLM",
        "laguna": "LagunaForCausalLM",
        "lfm2_moe": "Lfm2MoeForCausalLM",
        "llama4_text": "Llama4ForCausalLM",
        "longcat_flash": "LongcatFlashForCausalLM",
        "mellum": "MellumForCausalLM",
        "mimo_v2_flash": "MiMoV2FlashForCausalLM",
        "minimax": "MiniMaxForCausalLM",
        "minimax_m2": "MiniMaxM2ForCausalLM",
        "mixtral": "MixtralForCausalLM",
        "nemotron_h": "NemotronHForCausalLM",
        "olmoe": "OlmoeForCausalLM",
        "phimoe": "PhimoeForCausalLM",
        "qwen2_moe": "Qwen2MoeForCausalLM",
        "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
        "qwen3_moe": "Qwen3MoeForCausalLM",
        "qwen3_next": "Qwen3NextForCausalLM",
        "qwen3_vl_moe_text": "Qwen3VLMoeTextModel",
        "solar_open": "SolarOpenForCausalLM",
        "zaya": "ZayaForCausalLM",
    }
)
"""The class of each `model_type`."""


def is_tested(config: Mapping[str, Any], recipe: pb.Recipe) -> bool:
    """Whether a recipe does nothing but remove experts, of all layers, from a model of the table."""
    known = TESTED.get(config.get("model_type", ""))
    removes_experts = all(rule.granularity.units.map == _MAP for rule in recipe.rules)
    return removes_experts and known is not None and config.get("architectures") == [known]
